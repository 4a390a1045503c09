"""Biasing: listed phrases are preferred while a transcript is written, token by token.

The list is taken for a language model in which each phrase is as likely as the next. A token that
goes on with a phrase gains, in nats,

    max(0, strength + log p_list(token | the phrase so far))

so that a token which the list makes sure of gains ``strength``, and one that is but one of many
with which listed phrases go on gains little or nothing: a long list says less of each word than a
short one. What a phrase gained is its own only once it is complete and its last word ends; broken
off, it gives everything back (as along the fail arcs of Aho and Corasick, "Efficient string
matching", 1975; for other recognisers arXiv 2508.07014). So at the end of a text

    score = log p(y | speech) + the sum of what tokens of complete listed phrases gain

where a token of several such phrases counts once, by the most that it gains. A phrase begins where
a word does. To give something only to tokens that are nearly heard anyway kept no distractor out
that this does not, and lost terms (eval/RESULTS.md#biasing).

Phrases are preferred in any case in which they may be written, and those of several words are then
written as listed (``as_listed``): to prefer the listed case alone finds fewer of them.

Legend: B hypotheses (rows times beams), N tokens written so far, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from asr_llm.corpus.biasing_list import BiasingList

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

ANYWHERE, SENTENCE, CAPITALS = range(3)
"""Roots of the trie: phrases that may begin anywhere, where a sentence begins, and in a text
without a lower-case letter."""

_ROOTS = 3


@dataclass(frozen=True)
class Tokens:
    """What is to be known of each token: arrays (V,) of bool.

    ``spaced``: it begins with a space. ``boundary``: it cannot go on with a word. ``opens``: a
    word may follow without a space, as after a bracket. ``stops``: a sentence ends with it.
    ``lower``: it has a lower-case letter.
    """

    spaced: np.ndarray
    boundary: np.ndarray
    opens: np.ndarray
    stops: np.ndarray
    lower: np.ndarray

    @classmethod
    def of(cls, tokenizer: Any, vocabulary: int) -> Tokens:
        """By the texts of a Hugging Face tokenizer's tokens; the LLM may have room for more."""
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
            # A part of a letter's bytes is decoded as U+FFFD: it is within a word.
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
    """A trie of the tokens of all phrases, in the cases in which each may be written.

    Nodes are numbered breadth first, so that ``node * V + token`` of all edges is one sorted
    array, in which the node that an edge leads to is known by the edge's place.

    Args:
        sequences: the root of each phrase, and its tokens.
        tokens: of the vocabulary.
        strength: nats that a token gains where the phrase can go on with no other; one for each
            phrase, or the same for all. Of those that share a token the greatest counts.
        named: what a prompt may name.
    """

    def __init__(
        self,
        sequences: Sequence[tuple[int, Sequence[int]]],
        tokens: Tokens,
        strength: float | Sequence[float],
        named: tuple[str, ...] = (),
    ) -> None:
        self.tokens, self.named = tokens, named
        self._listed = _by_first_word(named)
        self.vocabulary = len(tokens.spaced)
        left = [ids for _, ids in sequences]
        nodes = np.array([root for root, _ in sequences], dtype=np.int64)
        strengths = np.broadcast_to(np.array(strength, dtype=float), len(sequences))
        edges, final = [np.zeros(0, np.int64)], [np.zeros(_ROOTS, dtype=bool)]
        # How many phrases go through each node, and the strength of the strongest of them.
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
        """What the token gains that leads to each node: ``strength + log p_list``, or nothing."""
        parents, tokens = np.divmod(self.edges, self.vocabulary)
        among, own = through[parents], through[_ROOTS:]
        for root in range(_ROOTS):
            for spaced in (False, True):  # where the one may begin, the other hardly ever does
                same = (parents == root) & (self.tokens.spaced[tokens] == spaced)
                among[same] = own[same].sum()
        gains = np.maximum(0, strength[_ROOTS:] + np.log(own / among))
        return np.concatenate([np.zeros(_ROOTS), gains])

    @classmethod
    def of(cls, lists: Iterable[BiasingList], model: SpanSALM) -> Phrases:
        """The trie of biasing lists, in the tokens of a model; special tokens are no words.

        A phrase of several lists has the strength of the strongest.
        """
        tokenizer = model.tokenizer.tokenizer
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
        tokens = Tokens.of(tokenizer, model.text_vocab_size)
        named = tuple(word for word, nats in words.items() if nats > 0)
        return cls(sequences, tokens, strengths, named)

    @property
    def prefers(self) -> bool:
        """Whether any token gains anything."""
        return bool(self.gain.any())

    def as_listed(self, text: str) -> str:
        """A text with listed phrases of several words in the case in which they are listed.

        Words may be names in one place and common words in another; a phrase hardly is. A capital
        that begins it is left, as a sentence may begin there, and so is what is all in capitals.
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
        """The tokens that go on from a node, and what each gains."""
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
    """Phrases of several words of which some have capitals, by their first, the longest first."""
    found: dict[str, list[str]] = {}
    for phrase in sorted(phrases, key=len, reverse=True):
        first = re.match(r"\w+", phrase)
        if first and " " in phrase and phrase not in (phrase.lower(), phrase.upper()):
            found.setdefault(first[0].lower(), []).append(phrase)
    return found


def _forms(phrase: str) -> list[tuple[int, str]]:
    """The cases in which a phrase may be written, and the root where each may begin."""
    forms = {
        phrase.upper(): CAPITALS,
        phrase[0].upper() + phrase[1:]: SENTENCE,
        phrase.lower(): ANYWHERE,
        phrase: ANYWHERE,
    }
    return [(root, text) for text, root in forms.items()]


@dataclass(frozen=True)
class Partial:
    """A phrase that may be on its way: its node, and what each token of it so far gained."""

    node: int
    gains: tuple[float, ...] = ()


@dataclass(frozen=True)
class State:
    """Where a hypothesis stands.

    ``partials``: the phrases that may be on their way, the longest first. ``kept``: what the
    tokens of the longest have already for a phrase that is complete. ``fresh``: a word may begin
    here without a space. ``sentence``: a sentence may begin here. ``capitals``: no lower-case
    letter has been written yet.
    """

    partials: tuple[Partial, ...] = ()
    kept: tuple[float, ...] = ()
    fresh: bool = True
    sentence: bool = True
    capitals: bool = True

    @property
    def roots(self) -> list[int]:
        """From where a phrase may begin now."""
        allowed = {ANYWHERE: True, SENTENCE: self.sentence, CAPITALS: self.capitals}
        return [root for root, now in allowed.items() if now]

    @property
    def worth(self) -> float:
        """What the tokens of ``kept`` are worth as long as the longest phrase may be on its way."""
        return _worth(self.kept, self.partials[0].gains) if self.partials else 0.0

    def kept_after(self, phrases: Phrases, boundary: bool) -> tuple[float, ...]:
        """``kept`` after a token that is a boundary, by which phrases are complete, or is none."""
        kept = self.kept
        if boundary:
            for partial in self.partials:
                if phrases.final[partial.node]:
                    kept = _most(kept, partial.gains)
        return kept

    def after(self, phrases: Phrases, token: int) -> State:
        """The state after one more token."""
        kinds = phrases.tokens
        begun = self.partials
        if kinds.spaced[token] or self.fresh:
            begun += tuple(Partial(root) for root in self.roots)
        partials = []
        for partial in begun:
            node = phrases.child(partial.node, token)
            if node is not None:
                partials.append(Partial(node, (*partial.gains, float(phrases.gain[node]))))
        kept = (*self.kept_after(phrases, bool(kinds.boundary[token])), 0.0)
        longest = len(partials[0].gains) if partials else 0
        return State(
            tuple(partials),
            kept[len(kept) - longest :],
            bool(kinds.opens[token]),
            bool(kinds.stops[token]),
            self.capitals and not kinds.lower[token],
        )


def _most(kept: tuple[float, ...], gains: tuple[float, ...]) -> tuple[float, ...]:
    """Token by token the greater; ``gains`` are of the last tokens."""
    before = len(kept) - len(gains)
    return kept[:before] + tuple(map(max, kept[before:], gains))


def _worth(kept: tuple[float, ...], gains: tuple[float, ...]) -> float:
    return sum(_most(kept, gains))


class Biasing(LogitsProcessor):
    """Adds to the scores of ``generate`` what listed phrases gain, and what they give back.

    The state of a hypothesis depends on nothing but what it has written, by which it is found: so
    it follows the hypotheses wherever the search puts them.
    """

    def __init__(self, phrases: Phrases) -> None:
        self.phrases = phrases
        self.states: dict[tuple[int, ...], State] = {}
        self.boundary = torch.from_numpy(phrases.tokens.boundary)
        self.begin = torch.zeros(2, 2, 2, phrases.vocabulary)
        for place in np.ndindex(2, 2, 2):
            now = State((), (), *map(bool, place))
            for root in reversed(now.roots):  # as the first of equals has the last word below
                tokens, gains = phrases.children(root)
                begins = phrases.tokens.spaced[tokens] | now.fresh
                self.begin[place][tokens[begins]] = torch.from_numpy(gains[begins]).float()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) of the next token, after (B, N) tokens."""
        texts = [tuple(text) for text in input_ids.tolist()]
        self.states = {text: self._state(text) for text in texts}
        gain, loss = self._changes([self.states[text] for text in texts], scores.device)
        return scores + gain - loss

    def _state(self, text: tuple[int, ...]) -> State:
        """From that of the text before its last token, which is known from the step before."""
        known = self.states.get(text)
        if known is None:
            before = self._state(text[:-1]) if text else None
            known = before.after(self.phrases, text[-1]) if before is not None else State()
        return known

    def _changes(self, states: list[State], device: torch.device) -> tuple[Tensor, Tensor]:
        """What each next token (B, V) gains, and what is given back for it."""
        self.begin, self.boundary = self.begin.to(device), self.boundary.to(device)
        places = zip(*((int(s.fresh), int(s.sentence), int(s.capitals)) for s in states))
        gain = self.begin[tuple(places)]
        kept = [[sum(s.kept_after(self.phrases, ends)) for ends in (False, True)] for s in states]
        lost = (torch.tensor([[s.worth] for s in states]) - torch.tensor(kept)).to(device)
        loss = torch.where(self.boundary, lost[:, 1:], lost[:, :1])
        onward = [(row, *self._onward(state)) for row, state in enumerate(states) if state.partials]
        if onward:
            rows = np.repeat([row for row, *_ in onward], [len(tokens) for _, tokens, *_ in onward])
            columns, gains, losses = (
                torch.from_numpy(np.concatenate(parts)).to(device)
                for parts in list(zip(*onward))[1:]
            )
            at = torch.from_numpy(rows).to(device), columns
            gain[at], loss[at] = gains.to(gain), losses.to(loss)
        return gain, loss

    def _onward(self, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tokens that go on with a phrase, what each gains, and what is given back for it:
        what only longer phrases had, which do not go on with it."""
        found = []
        kept = [state.kept_after(self.phrases, ends) for ends in (False, True)]
        for partial in state.partials:
            tokens, gains = self.phrases.children(partial.node)
            lost, lost_at_end = (state.worth - _worth(k, partial.gains) for k in kept)
            ends = self.phrases.tokens.boundary[tokens]
            found.append((tokens, gains, np.where(ends, lost_at_end, lost)))
        if len(found) == 1:
            return found[0]
        tokens, gains, losses = (np.concatenate(parts) for parts in zip(*found))
        tokens, first = np.unique(tokens, return_index=True)  # the longest has the last word
        return tokens, gains[first], losses[first]


def biasing_of(phrases: Phrases | None) -> LogitsProcessorList:
    """What ``generate`` transcribes with: ``Biasing``, or nothing where there is nothing to do."""
    if phrases is None or not phrases.prefers:
        return LogitsProcessorList()
    return LogitsProcessorList([Biasing(phrases)])
