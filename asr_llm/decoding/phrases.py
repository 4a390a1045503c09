"""The phrases of biasing lists, as a trie of a model's tokens.

Phrases are boosted in all cases in which they may be written, and multi-word phrases are then
written as listed (``as_listed``): boosting only the listed case finds fewer of them.

Legend: V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding.homophones import Homophones

ANYWHERE, SENTENCE, CAPITALS = range(3)
"""Roots of the trie: phrases that may start anywhere, at the start of a sentence, and in a text
without lower-case letters."""

_ROOTS = 3


@dataclass(frozen=True)
class Tokens:
    """Properties of each token: arrays (V,) of bool.

    ``spaced``: it starts with a space. ``boundary``: it cannot continue a word. ``opens``: a word
    may follow without a space, as after a bracket. ``stops``: it ends a sentence. ``lower``: it has
    a lower-case letter.
    """

    spaced: np.ndarray
    boundary: np.ndarray
    opens: np.ndarray
    stops: np.ndarray
    lower: np.ndarray

    @classmethod
    def of(cls, tokenizer: Any, vocabulary: int) -> Tokens:
        """From a Hugging Face tokenizer; the LLM may have more rows than tokens."""
        ids = list(range(len(tokenizer)))
        pieces = tokenizer.convert_ids_to_tokens(ids)
        texts = tokenizer.batch_decode([[i] for i in ids], clean_up_tokenization_spaces=False)
        special = set(tokenizer.all_special_ids)
        kinds = np.zeros((5, vocabulary), dtype=bool)
        for token, piece, text in zip(ids, pieces, texts):
            if token in special:
                kinds[:, token] = False, True, True, True, False
                continue
            spaced = piece.startswith(("Ġ", "▁")) or text[:1].isspace()
            # Part of a letter's bytes decodes to U+FFFD: it is within a word.
            first, last = (c.isalnum() or c == "\ufffd" for c in (text[:1], text[-1:]))
            kinds[:, token] = (
                spaced,
                spaced or not first,
                not last and text[-1:] not in ("'", "’"),
                text[-1:] in (".", "!", "?", "\n"),
                text != text.upper(),
            )
        return cls(*kinds)


class Phrases:
    """A trie of the tokens of all phrases, in all cases in which each may be written.

    Nodes are numbered breadth first, so that ``node * V + token`` of all edges is one sorted array,
    in which an edge's position gives its target node.

    Args:
        sequences: the root of each phrase, and its tokens.
        tokens: of the vocabulary.
        strength: nats that a token gains if it is the only continuation; one per phrase, or the
            same for all. Phrases that share a token use the largest.
        named: phrases for the prompt, and for texts that misspell them (``homophones``).
    """

    def __init__(
        self,
        sequences: Sequence[tuple[int, Sequence[int]]],
        tokens: Tokens,
        strength: float | Sequence[float],
        named: tuple[str, ...] = (),
    ) -> None:
        self.tokens, self.named = tokens, named
        self._listed, self.homophones = _by_first_word(named), Homophones(named)
        self.vocabulary = len(tokens.spaced)
        left = [ids for _, ids in sequences]
        nodes = np.array([root for root, _ in sequences], dtype=np.int64)
        strengths = np.broadcast_to(np.array(strength, dtype=float), len(sequences))
        edges, final = [np.zeros(0, np.int64)], [np.zeros(_ROOTS, dtype=bool)]
        # Number of phrases through each node, and the largest strength among them.
        through, strongest = [np.zeros(_ROOTS)], [np.zeros(_ROOTS)]
        made, depth = _ROOTS, 0
        while left:
            keys = nodes * self.vocabulary + np.array([ids[depth] for ids in left])
            level, place = np.unique(keys, return_inverse=True)
            depth += 1
            ended = np.array([len(ids) == depth for ids in left])
            edges.append(level)
            final.append(np.bincount(place, ended) > 0)
            through.append(np.bincount(place).astype(float))
            strongest.append(np.zeros(len(level)))
            np.maximum.at(strongest[-1], place, strengths)
            nodes, strengths = made + place[~ended], strengths[~ended]
            left = [ids for ids in left if len(ids) > depth]
            made += len(level)
        self.edges, self.final = np.concatenate(edges), np.concatenate(final)
        self.first_edge = np.searchsorted(self.edges, np.arange(made + 1) * self.vocabulary)
        self.gain = self._gains(np.concatenate(strongest), np.concatenate(through))

    def _gains(self, strength: np.ndarray, through: np.ndarray) -> np.ndarray:
        """The gain of the token that leads to each node: ``strength + log p_list``, or 0."""
        parents, tokens = np.divmod(self.edges, self.vocabulary)
        among, own = through[parents], through[_ROOTS:]
        for root in range(_ROOTS):
            for spaced in (False, True):  # where one may start, the other rarely does
                same = (parents == root) & (self.tokens.spaced[tokens] == spaced)
                among[same] = own[same].sum()
        gains = np.maximum(0, strength[_ROOTS:] + np.log(own / among))
        return np.concatenate([np.zeros(_ROOTS), gains])

    @classmethod
    def of(cls, lists: Iterable[BiasingList], tokenizer: Any, vocabulary: int) -> Phrases:
        """The trie of biasing lists, in the tokens of a tokenizer; special tokens are no words.

        A phrase of several lists has the strength of the strongest.

        Args:
            tokenizer: Hugging Face's.
            vocabulary: V of the model, which may be more than the tokenizer's.
        """
        special = [token.lower() for token in tokenizer.all_special_tokens]
        words: dict[str, float] = {}
        for biasing in lists:
            for phrase in biasing.phrases:
                if not any(token in phrase.lower() for token in special):
                    words[phrase] = max(biasing.nats, words.get(phrase, 0.0))
        forms = [(*form, nats) for word, nats in words.items() for form in _forms(word)]
        sequences: list[tuple[int, Sequence[int]]] = []
        strengths: list[float] = []
        for space in ("", " ") if forms else ():
            texts = [space + text for _, text, _ in forms]
            found = tokenizer(texts, add_special_tokens=False)["input_ids"]
            sequences += [(root, ids) for (root, *_), ids in zip(forms, found) if ids]
            strengths += [nats for (*_, nats), ids in zip(forms, found) if ids]
        tokens = Tokens.of(tokenizer, vocabulary)
        named = tuple(word for word, nats in words.items() if nats > 0)
        return cls(sequences, tokens, strengths, named)

    @property
    def prefers(self) -> bool:
        """Whether any token has a gain."""
        return bool(self.gain.any())

    def as_listed(self, text: str) -> str:
        """Rewrite listed multi-word phrases in their listed case.

        A single word may be a name in one place and a common word in another; a phrase rarely is.
        An initial capital is kept, because it may start a sentence, and so is text in all capitals.
        """
        parts, done = [], 0
        for word in re.finditer(r"\w+", text):
            if word.start() < done:
                continue
            for phrase in self._listed.get(word[0].lower(), ()):
                found = text[word.start() : word.start() + len(phrase)]
                ends = not text[word.start() + len(phrase) :][:1].isalnum()
                if ends and found.lower() == phrase.lower() and not found.isupper():
                    first = found[0] if found[0].isupper() else phrase[0]
                    parts += [text[done : word.start()], first, phrase[1:]]
                    done = word.start() + len(phrase)
                    break
        return "".join([*parts, text[done:]])

    def children(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that continue from a node, and their gains."""
        first, last = self.first_edge[node], self.first_edge[node + 1]
        tokens = self.edges[first:last] - node * self.vocabulary
        return tokens, self.gain[first + _ROOTS : last + _ROOTS]

    def child(self, node: int, token: int) -> int | None:
        """The node that a token leads to from a node, if any."""
        edge = node * self.vocabulary + token
        place = int(self.edges.searchsorted(edge))
        found = place < len(self.edges) and self.edges[place] == edge
        return place + _ROOTS if found else None


def _by_first_word(phrases: Iterable[str]) -> dict[str, list[str]]:
    """Multi-word phrases with capitals, by their first word, longest first."""
    found: dict[str, list[str]] = {}
    for phrase in sorted(phrases, key=len, reverse=True):
        first = re.match(r"\w+", phrase)
        if first and " " in phrase and phrase not in (phrase.lower(), phrase.upper()):
            found.setdefault(first[0].lower(), []).append(phrase)
    return found


def _forms(phrase: str) -> list[tuple[int, str]]:
    """The cases in which a phrase may be written, each with the root where it may start."""
    forms = {
        phrase.upper(): CAPITALS,
        phrase[0].upper() + phrase[1:]: SENTENCE,
        phrase.lower(): ANYWHERE,
        phrase: ANYWHERE,
    }
    return [(root, text) for text, root in forms.items()]
