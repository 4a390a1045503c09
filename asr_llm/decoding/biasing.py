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

Legend: B hypotheses (rows times beams), N tokens written so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asr_llm.decoding.phrases import ANYWHERE, CAPITALS, SENTENCE, Phrases
from asr_llm.decoding.preference import Preference


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


class Biasing(Preference):
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

    def gains(self, texts: Sequence[Sequence[int]], end: int) -> list[float]:
        """As ``Preference``."""
        rows = [torch.tensor([*ids, end]) for ids in texts]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=end)
        nothing = torch.zeros(len(rows), self.phrases.vocabulary)
        steps = [
            self(ids[:, :n], nothing).gather(1, ids[:, n : n + 1]) for n in range(ids.shape[1])
        ]
        gained = torch.cat(steps, 1)
        return [float(own[: len(row)].sum()) for own, row in zip(gained, rows)]

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
