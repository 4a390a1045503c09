"""Biasing: listed phrases are preferred while a transcript is written, token by token.

Each token that goes on with a listed phrase gains ``strength`` nats, so that the phrase wins over
what sounds alike. What a phrase gained is its own only once it is complete and its last word ends;
broken off, it gives everything back (as along the fail arcs of Aho and Corasick, "Efficient string
matching", 1975; for other recognisers arXiv 2508.07014). So at the end of a text

    score = log p(y | speech) + strength * (tokens that belong to complete listed phrases)

where a token counts once, however many phrases it belongs to. A phrase begins where a word does.

Two things bound what a list can make the model say that nobody said. The first token of a phrase
gains nothing, unless it is the whole phrase: so many phrases begin with each token that this would
tell a word's beginning from its middle, not one word from another. And only what is nearly heard
gains: nothing is given to a token that is more than ``MARGIN`` nats less likely than the best one
at its place. Both were chosen on dev sets (eval/RESULTS.md#biasing).

Legend: B hypotheses (rows times beams), N tokens written so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from asr_llm.corpus.biasing_list import BiasingList

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

MARGIN = 5.0
"""Nats that a token may be less likely than the best and still gain."""

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
        tokens: the vocabulary.
        strength: nats that each token gains.
        margin: as ``MARGIN``.
    """

    def __init__(
        self,
        sequences: Sequence[tuple[int, Sequence[int]]],
        tokens: Tokens,
        strength: float,
        margin: float = MARGIN,
    ) -> None:
        self.tokens, self.strength, self.margin = tokens, strength, margin
        self.vocabulary = len(tokens.spaced)
        left = [np.array(ids, dtype=np.int64) for _, ids in sequences]
        nodes = np.array([root for root, _ in sequences], dtype=np.int64)
        edges, final = [np.zeros(0, np.int64)], [np.zeros(_ROOTS, dtype=bool)]
        made = _ROOTS
        while left:
            keys = nodes * self.vocabulary + np.array([ids[0] for ids in left])
            level, place = np.unique(keys, return_inverse=True)
            left = [ids[1:] for ids in left]
            ended = np.array([len(ids) == 0 for ids in left])
            edges.append(level)
            final.append(np.bincount(place, ended, len(level)) > 0)
            nodes = made + place[~ended]
            left = [ids for ids in left if len(ids)]
            made += len(level)
        self.edges, self.final = np.concatenate(edges), np.concatenate(final)
        self.first_edge = np.searchsorted(self.edges, np.arange(made + 1) * self.vocabulary)

    @classmethod
    def of(cls, biasing: BiasingList, model: SpanSALM) -> Phrases:
        """The trie of a biasing list, in the tokens of a model."""
        tokenizer = model.tokenizer.tokenizer
        forms = [form for phrase in biasing.phrases for form in _forms(phrase)]
        sequences: list[tuple[int, Sequence[int]]] = []
        for space in ("", " ") if forms else ():
            texts = [space + text for _, text in forms]
            found = tokenizer(texts, add_special_tokens=False)["input_ids"]
            sequences += [(root, ids) for (root, _), ids in zip(forms, found)]
        return cls(sequences, Tokens.of(tokenizer, model.text_vocab_size), biasing.strength)

    def children(self, node: int) -> np.ndarray:
        """The tokens that go on from a node."""
        edges = self.edges[self.first_edge[node] : self.first_edge[node + 1]]
        return edges - node * self.vocabulary

    def child(self, node: int, token: int) -> int | None:
        """The node that a token leads to from a node, if any."""
        edge = node * self.vocabulary + token
        place = int(self.edges.searchsorted(edge))
        found = place < len(self.edges) and self.edges[place] == edge
        return place + _ROOTS if found else None

    def whole(self, root: int) -> np.ndarray:
        """The tokens that are a phrase by themselves."""
        first, last = self.first_edge[root : root + 2]
        return self.children(root)[self.final[_ROOTS + first : _ROOTS + last]]


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
class State:
    """Where a hypothesis stands.

    ``active``: the phrases that may be on their way, the longest first, each as its node and
    how many tokens of it were written. ``gains``: what the tokens of the longest gained and may
    have to give back. ``fresh``: a word may begin here without a space. ``sentence``: a
    sentence may begin here. ``capitals``: no lower-case letter has been written yet.
    """

    active: tuple[tuple[int, int], ...] = ()
    gains: tuple[float, ...] = ()
    fresh: bool = True
    sentence: bool = True
    capitals: bool = True

    @property
    def roots(self) -> list[int]:
        """From where a phrase may begin now."""
        allowed = {ANYWHERE: True, SENTENCE: self.sentence, CAPITALS: self.capitals}
        return [root for root, now in allowed.items() if now]

    def kept(self, phrases: Phrases) -> tuple[float, ...]:
        """``gains``, without what belongs to a phrase that is complete if its word ends here."""
        for node, length in self.active:
            if phrases.final[node]:
                return self.gains[:-length] + (0.0,) * length
        return self.gains

    def after(self, phrases: Phrases, token: int, gain: float) -> State:
        """The state after one more token, which gained so much."""
        kinds = phrases.tokens
        begun = self.active
        if kinds.spaced[token] or self.fresh:
            begun += tuple((root, 0) for root in self.roots)
        onward = ((phrases.child(node, token), length + 1) for node, length in begun)
        active = tuple((node, length) for node, length in onward if node is not None)
        gains = self.kept(phrases) if kinds.boundary[token] else self.gains
        gains = (*gains, gain)
        longest = active[0][1] if active else 0
        return State(
            active,
            gains[len(gains) - longest :],
            bool(kinds.opens[token]),
            bool(kinds.stops[token]),
            self.capitals and not kinds.lower[token],
        )


class Biasing(LogitsProcessor):
    """Adds to the scores of ``generate`` what listed phrases gain, and what they give back.

    Args:
        phrases: the list.
        beams: hypotheses of each text. Each has a state, found by what it goes on from, so that
            it follows the hypotheses wherever the search puts them.
    """

    def __init__(self, phrases: Phrases, beams: int) -> None:
        self.phrases, self.beams = phrases, beams
        self.states: dict[tuple[int, ...], tuple[int, State]] = {}
        self.gained = torch.zeros(0, 0)
        self.boundary = torch.from_numpy(phrases.tokens.boundary)
        self.whole = torch.zeros(2, 2, 2, phrases.vocabulary)
        for place in np.ndindex(2, 2, 2):
            now = State((), (), *map(bool, place))
            tokens = np.concatenate([phrases.whole(root) for root in now.roots])
            self.whole[place][tokens[phrases.tokens.spaced[tokens] | now.fresh]] = phrases.strength

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) of the next token, after (B, N) tokens."""
        states = self._follow(input_ids)
        gain, loss = self._changes(states, scores.device)
        near = scores >= scores.amax(1, keepdim=True) - self.phrases.margin
        self.gained = gain * near
        return scores + self.gained - loss

    def _follow(self, input_ids: Tensor) -> list[State]:
        """The state of each hypothesis: that of what it goes on from, and one token more."""
        texts = input_ids.tolist()
        states = [State()] * len(texts)
        if input_ids.shape[1]:
            before = [self.states[i // self.beams, *text[:-1]] for i, text in enumerate(texts)]
            gains = self.gained[[row for row, _ in before], input_ids[:, -1]].tolist()
            states = [
                state.after(self.phrases, text[-1], gain)
                for (_, state), text, gain in zip(before, texts, gains)
            ]
        self.states = {
            (i // self.beams, *text): (i, state)
            for i, (text, state) in enumerate(zip(texts, states))
        }
        return states

    def _changes(self, states: list[State], device: torch.device) -> tuple[Tensor, Tensor]:
        """What each next token (B, V) gains if it is near, and what is given back for it."""
        self.whole, self.boundary = self.whole.to(device), self.boundary.to(device)
        places = zip(*((int(s.fresh), int(s.sentence), int(s.capitals)) for s in states))
        gain = self.whole[tuple(places)]
        lost = torch.tensor([[sum(s.gains), sum(s.kept(self.phrases))] for s in states]).to(device)
        loss = torch.where(self.boundary, lost[:, 1:], lost[:, :1])
        onward = [(row, *self._onward(state)) for row, state in enumerate(states) if state.active]
        if onward:
            rows = np.concatenate([np.full(len(tokens), row) for row, tokens, _ in onward])
            columns = np.concatenate([tokens for _, tokens, _ in onward])
            back = np.concatenate([back for _, _, back in onward])
            at = torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)
            gain[at] = self.phrases.strength
            loss[at] = torch.from_numpy(back).to(loss)
        return gain, loss

    def _onward(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that go on with a phrase, and what is given back for each: of those tokens
        only that the longest phrase has and the one that goes on has not."""
        kept, boundary = state.kept(self.phrases), self.phrases.tokens.boundary
        tokens = [self.phrases.children(node) for node, _ in state.active]
        back = [
            np.where(
                boundary[ids], sum(kept[: len(kept) - own]), sum(state.gains[: len(kept) - own])
            )
            for ids, (_, own) in zip(tokens, state.active)
        ]
        if len(tokens) == 1:
            return tokens[0], back[0]
        found, first = np.unique(np.concatenate(tokens), return_index=True)  # the longest counts
        return found, np.concatenate(back)[first]


def biasing_of(phrases: Phrases | None, beams: int) -> LogitsProcessorList:
    """What ``generate`` transcribes with: ``Biasing``, or nothing where there is nothing to do."""
    if phrases is None or not len(phrases.edges) or phrases.strength == 0:
        return LogitsProcessorList()
    return LogitsProcessorList([Biasing(phrases, beams)])
