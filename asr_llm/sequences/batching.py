"""Batches of sequences, as a pure function of the batch number.

Every batch is determined by the seed and its index alone: examples, voices, noise. So a run resumes
at the next index, and no data state has to be saved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch

from asr_llm.corpus.recordings.shar import GROUP
from asr_llm.corpus.text.normalizers import normalize
from asr_llm.errors import DomainError
from asr_llm.sequences.batch import Batch, BatchSpeech, Spans
from asr_llm.sequences.examples import Examples, Item
from asr_llm.sequences.order import ShardOrder
from asr_llm.sequences.spans import SpanSequence, Speech, Text, as_text, num_frames


class Collator:
    """Turns sequences into a batch whose names follow NeMo's SALM.

    Args:
        tokenizer: the checkpoint's Hugging Face tokenizer.
        locator: the audio locator tag.
        pad_id: padding token id.
        frame_samples: audio samples per encoder frame.
        ctc: adds ``ctc_targets``, the normalised words of each audio, as these ids.
    """

    def __init__(
        self,
        tokenizer: Any,
        locator: str,
        pad_id: int,
        frame_samples: int,
        ctc: Callable[[str], list[int]] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.locator_id = tokenizer.convert_tokens_to_ids(locator)
        self.pad_id = pad_id
        self.frame_samples = frame_samples
        self.ctc = ctc

    def encode(self, text: str) -> list[int]:
        """Token ids of a piece of text, without special tokens added."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def __call__(self, sequences: list[SpanSequence]) -> Batch:
        """Collate B sequences."""
        rows = [self._tokens(sequence) for sequence in sequences]
        ids = _pad([torch.tensor(tokens) for tokens, _, _ in rows], self.pad_id)
        mask = _pad([torch.tensor(loss) for _, loss, _ in rows], False)
        batch = Batch(ids, mask, self._speech(sequences))
        imitating = [i for i, (_, _, weights) in enumerate(rows) if any(weights)]
        if not imitating:
            return batch
        read = [self._tokens(as_text(sequences[i])) for i in imitating]
        return replace(
            batch,
            kl=_pad([torch.tensor(weights) for _, _, weights in rows], 0.0),
            read=Batch(
                _pad([torch.tensor(tokens) for tokens, _, _ in read], self.pad_id),
                _pad([torch.tensor(weights) > 0 for _, _, weights in read], False),
            ),
        )

    def _tokens(self, sequence: SpanSequence) -> tuple[list[int], list[bool], list[float]]:
        """Token ids, and for each whether it is learned and the weight of its KL divergence."""
        tokens: list[int] = []
        mask: list[bool] = []
        weights: list[float] = []
        for span in sequence:
            written = span if isinstance(span, Text) else Text("")
            new = self.encode(span.text) if isinstance(span, Text) else [self.locator_id]
            tokens += new
            mask += [written.loss] * len(new)
            weights += [written.kl] * len(new)
        return tokens, mask, weights

    def _speech(self, sequences: list[SpanSequence]) -> BatchSpeech | None:
        spoken = [[span for span in spans if isinstance(span, Speech)] for spans in sequences]
        rows = [row for row, speech in enumerate(spoken) if speech]
        if not rows:
            return None
        said = [spoken[row] for row in rows]
        made = [_one_audio(speech, self.frame_samples) for speech in said]
        audios = [audio for audio, _ in made]
        return BatchSpeech(
            audios=_pad([torch.from_numpy(audio) for audio in audios], 0.0),
            audio_lens=torch.tensor([len(audio) for audio in audios]),
            audio_frames=[len(audio) // self.frame_samples for audio in audios],
            audio_rows=rows,
            span_frames=[places for _, places in made],
            audio_keys=[
                content_key(audio) if _is_recording(speech, audio, self.frame_samples) else None
                for speech, audio in zip(said, audios)
            ],
            ctc_targets=None
            if self.ctc is None
            else [torch.tensor(self.ctc(_said(speech)), dtype=torch.long) for speech in said],
        )


def _one_audio(speech: list[Speech], frame_samples: int) -> tuple[np.ndarray, Spans]:
    """A row's speech as one audio of whole frames, and the frames of each span in it."""
    if speech[0].sliced:  # all spans are of one utterance
        utterance = speech[0].utterance
        whole = Speech(utterance, 0, num_frames(utterance, frame_samples))
        return whole.samples(frame_samples), [(span.start, span.end) for span in speech]
    ends = list(accumulate(span.num_frames for span in speech))
    audio = np.concatenate([span.samples(frame_samples) for span in speech])
    return audio, list(pairwise([0, *ends]))


def _is_recording(speech: list[Speech], audio: np.ndarray, frame_samples: int) -> bool:
    """Whether a row's audio will come again: a whole recording, or several one after the other."""
    if all(
        span.utterance.recorded
        and (span.start, span.end) == (0, num_frames(span.utterance, frame_samples))
        for span in speech
    ):
        return True
    utterance = speech[0].utterance
    if not utterance.recorded or len(audio) < len(utterance.samples):
        return False
    return speech[0].sliced or all(
        span.utterance is utterance and span.start == before
        for span, before in zip(speech, [0, *(span.end for span in speech)])
    )


def content_key(samples: np.ndarray) -> str:
    """Hash of float32 samples (T,)."""
    return hashlib.sha1(np.ascontiguousarray(samples, np.float32).tobytes()).hexdigest()


def _said(speech: list[Speech]) -> str:
    """The normalised words of a row's audio: those of its spans, or of their whole utterance."""
    pieces = [span.text for span in speech if span.text is not None and not span.sliced]
    return normalize(" ".join(pieces or [speech[0].utterance.text]), "basic")


def _pad(tensors: list[torch.Tensor], value: float) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)


class BatchStream(torch.utils.data.Dataset[Batch]):
    """An endless, reproducible stream of batches of similar length.

    Examples are drawn in pools of ``pool`` batches. In a pool each source contributes its share
    (``weight``), going through its examples in a new order each epoch; the pool is sorted by
    length, split into batches of equal cost, and the batches are shuffled.

    Args:
        budget: approximate number of decoder positions per batch.
        length: nominal number of batches (the run's steps).
    """

    def __init__(
        self,
        sources: list[Examples],
        collate: Collator,
        seed: int,
        budget: int,
        length: int,
        pool: int = 16,
    ) -> None:
        self.sources, self.collate = sources, collate
        self.seed, self.pool, self.length = seed, pool, length
        total = sum(s.weight for s in sources)
        self.shares = [s.weight / total for s in sources]
        mean = sum(
            share * np.mean([s.item(i).cost for i in range(min(s.count, 200))])
            for share, s in zip(self.shares, sources)
        )
        # Shares are rounded down: each source may give one less, but no batch may be empty.
        self.draws = max(pool + len(sources), round(pool * budget / mean))
        self._cached: tuple[int, list[list[Item]]] = (-1, [])
        self._orders: dict[tuple[int, int], Sequence[int] | np.ndarray] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Batch:
        """The batch of a number; if nothing in it is usable, the next one of its pool.

        Raises:
            DomainError: nothing in the pool is usable.
        """
        number, position = divmod(index, self.pool)
        if self._cached[0] != number:
            self._cached = (number, self._draw_pool(number))
        batches = self._cached[1]
        rng = np.random.default_rng((self.seed, 1, index))
        for items in batches[position:] + batches[:position]:
            made = [item.make(rng) for item in items]
            if sequences := [sequence for sequence in made if sequence is not None]:
                return self.collate(sequences)
        raise DomainError(
            f"none of {sum(map(len, batches))} examples can be used; expected utterances that are "
            "not too long and, to be interleaved, have two units or more: fix the data, or leave "
            "the source out of the recipe"
        )

    def _draw_pool(self, number: int) -> list[list[Item]]:
        rng = np.random.default_rng((self.seed, 2, number))
        items: list[Item] = []
        for k, (source, share) in enumerate(zip(self.sources, self.shares)):
            first, last = (int(share * self.draws * n) for n in (number, number + 1))
            items += [source.item(self._example(k, position)) for position in range(first, last)]
        # A little randomness in the order, so that batches differ from epoch to epoch.
        items.sort(key=lambda item: item.cost * rng.uniform(0.9, 1.1))
        reached = np.cumsum([item.cost for item in items])
        cuts = np.searchsorted(reached, reached[-1] * np.arange(1, self.pool) / self.pool)
        batches = [list(part) for part in _split(items, cuts)]
        rng.shuffle(batches)  # type: ignore[arg-type]
        return batches

    def _example(self, source: int, position: int) -> int:
        """The example at a position of a source's endless order."""
        epoch, offset = divmod(position, self.sources[source].count)
        key = (source, epoch)
        if key not in self._orders:
            self._orders = {k: v for k, v in self._orders.items() if k[0] != source}
            self._orders[key] = self._order(source, epoch)
        return int(self._orders[key][offset])

    def _order(self, source: int, epoch: int) -> Sequence[int] | np.ndarray:
        key, examples = (self.seed, 3, source, epoch), self.sources[source]
        if examples.shards:
            return ShardOrder(examples.shards, key, GROUP)
        return np.random.default_rng(key).permutation(examples.count)


def _split(items: list[Item], cuts: Iterable[int]) -> Iterable[list[Item]]:
    """Split a list at increasing positions; every part gets at least one item."""
    first = 0
    bounds = [*(int(c) for c in cuts), len(items)]
    for k, last in enumerate(bounds):
        remaining = len(bounds) - 1 - k
        last = min(max(last, first + 1), len(items) - remaining)
        yield items[first:last]
        first = last
