"""Biasing: boosts listed phrases during decoding, token by token.

The list is treated as a language model with equally likely phrases. A token that continues a
phrase gains, in nats,

    max(0, strength + log p_list(token | the phrase so far))

so a token that is the only continuation gains ``strength``, and one of many possible continuations
gains little or nothing: a long list says less about each word than a short one. A phrase keeps its
gain only once it is complete and its last word ends; if it is broken off, the whole gain is taken
back (like the fail arcs of Aho and Corasick, "Efficient string matching", 1975; for other
recognisers arXiv 2508.07014). So at the end of a text

    score = log p(y | speech) + the sum of what tokens of complete listed phrases gain

where a token of several such phrases counts once, with its largest gain. Phrases start at word
boundaries. Boosting only tokens that are already likely rejected no more distractors and lost terms
(eval/RESULTS.md#biasing).

Legend: B hypotheses (rows times beams), N tokens written so far, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asr_llm.decoding.phrases import ANYWHERE, CAPITALS, SENTENCE, Phrases
from asr_llm.decoding.preference import Preference


@dataclass(frozen=True)
class Partial:
    """A phrase possibly in progress: its node, and the gain of each of its tokens so far."""

    node: int
    gains: tuple[float, ...] = ()


@dataclass(frozen=True)
class State:
    """The biasing state of a hypothesis.

    ``partials``: phrases possibly in progress, longest first. ``kept``: gains already earned by
    tokens of the longest through complete phrases. ``fresh``: a word may start here without a
    space. ``sentence``: a sentence may start here. ``capitals``: no lower-case letter has been
    written yet.
    """

    partials: tuple[Partial, ...] = ()
    kept: tuple[float, ...] = ()
    fresh: bool = True
    sentence: bool = True
    capitals: bool = True

    @property
    def roots(self) -> list[int]:
        """The trie roots from which a phrase may start now."""
        allowed = {ANYWHERE: True, SENTENCE: self.sentence, CAPITALS: self.capitals}
        return [root for root, now in allowed.items() if now]

    @property
    def worth(self) -> float:
        """The value of ``kept`` while the longest phrase may be in progress."""
        return _worth(self.kept, self.partials[0].gains) if self.partials else 0.0

    def kept_after(self, phrases: Phrases, boundary: bool) -> tuple[float, ...]:
        """``kept`` after a token that is a word boundary, and so completes phrases, or is not."""
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
    """Token-wise maximum; ``gains`` are those of the last tokens."""
    before = len(kept) - len(gains)
    return kept[:before] + tuple(map(max, kept[before:], gains))


def _worth(kept: tuple[float, ...], gains: tuple[float, ...]) -> float:
    return sum(_most(kept, gains))


class Biasing(Preference):
    """Adds the gains of listed phrases to the scores of ``generate``, and takes them back.

    The state of a hypothesis is keyed by the tokens it has written, so it follows the hypotheses
    wherever the search moves them.
    """

    def __init__(self, phrases: Phrases) -> None:
        self.phrases = phrases
        self.states: dict[tuple[int, ...], State] = {}
        self.boundary = torch.from_numpy(phrases.tokens.boundary)
        self.begin = torch.zeros(2, 2, 2, phrases.vocabulary)
        for place in np.ndindex(2, 2, 2):
            now = State((), (), *map(bool, place))
            for root in reversed(now.roots):  # because below, the last of duplicates wins
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
        """The state of a text, computed from that of the previous step."""
        known = self.states.get(text)
        if known is None:
            before = self._state(text[:-1]) if text else None
            known = before.after(self.phrases, text[-1]) if before is not None else State()
        return known

    def _changes(self, states: list[State], device: torch.device) -> tuple[Tensor, Tensor]:
        """The gain of each next token (B, V), and what is taken back otherwise."""
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
        """Continuations of phrases: tokens, their gains, and what is taken back.

        Taken back are the gains only of longer phrases that the token does not continue.
        """
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
        tokens, first = np.unique(tokens, return_index=True)  # the longest phrase wins
        return tokens, gains[first], losses[first]
