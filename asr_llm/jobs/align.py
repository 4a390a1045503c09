"""Aligns a manifest of recordings: load, align, keep what can be trusted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asr_llm import defaults
from asr_llm.corpus import MIN_CONFIDENCE, MIN_COVERAGE
from asr_llm.corpus.recordings.alignment import Alignment, Unaligned, alignment_items, word_items
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, cut_audio
from asr_llm.corpus.recordings.ctc_search import Backend
from asr_llm.corpus.recordings.importers import read_manifest, require_manifest
from asr_llm.corpus.recordings.timed_files import write_ctm, write_textgrids
from asr_llm.corpus.recordings.timings import Timings, match, read_timings, times_of
from asr_llm.errors import AsrLlmError, AudioError, DomainError
from asr_llm.files import check_writable
from asr_llm.text_files import is_pipe

if TYPE_CHECKING:
    from lhotse import CutSet
    from lhotse.cut import Cut

    from asr_llm.model.ctc import CtcModel
    from asr_llm.progress import Progress

Form = Literal["jsonl", "ctm", "textgrid"]

_BATCH_SECONDS = 120.0


@dataclass(frozen=True)
class WordTimes:
    """Source of a recording's word times.

    Args:
        model: a checkpoint with a CTC head, or a NeMo CTC model's ``.nemo`` file.
        backend: alignment search over the model's posteriors.
        timings: existing word times instead of a model: a CTM, a TextGrid or a folder of them,
            Lhotse cuts.
        anew: whether to realign cuts that already have word times.
    """

    model: str = defaults.MODEL
    backend: Backend = "auto"
    timings: str | Path | None = None
    anew: bool = True

    def of(self, cuts: CutSet) -> Iterator[tuple[Cut, Alignment | Unaligned]]:
        """Yield the words of each cut, or why they could not be aligned.

        Raises:
            CheckpointError: the model has no CTC head.
            DomainError: the existing times cannot be read.
        """
        if self.timings is not None:
            return _imported(cuts, read_timings(self.timings))
        from asr_llm.model import ctc

        return _aligned(cuts, ctc.load(self.model), self.backend)


@dataclass(frozen=True)
class Thresholds:
    """Which alignments are good enough to keep.

    Args:
        confidence: less confident alignments are dropped; most have wrong transcripts.
        coverage: transcripts that cover a smaller share of the recognised speech are dropped as
            incomplete.
    """

    confidence: float = MIN_CONFIDENCE
    coverage: float = MIN_COVERAGE

    def judge(self, found: Alignment | Unaligned) -> Alignment | Unaligned:
        """Return the alignment, or why it is dropped."""
        if isinstance(found, Unaligned):
            return found
        if found.confidence is not None and found.confidence < self.confidence:
            return Unaligned(f"confidence {found.confidence:.2g} below {self.confidence:g}")
        if found.covered is not None and found.covered < self.coverage:
            return Unaligned(
                f"the transcript accounts for {found.covered:.0%} of what is said, less than "
                f"{self.coverage:.0%}: complete it, or cut the audio"
            )
        return found


@dataclass(frozen=True)
class Dropped:
    """A dropped recording, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class AlignedManifest:
    """Result for a manifest: the aligned cuts and the dropped recordings."""

    path: Path
    aligned: int
    words: int
    dropped: tuple[Dropped, ...]


def align_manifest(
    manifest: str | Path,
    output: str | Path | None = None,
    times: WordTimes = WordTimes(),
    thresholds: Thresholds = Thresholds(),
    *,
    form: Form = "jsonl",
    progress: Progress | None = None,
) -> AlignedManifest:
    """Align the words of a manifest's transcripts with their audio.

    Args:
        manifest: NeMo, Lhotse, AudioFolder or ``trans.txt``, or the folder of one.
        output: default: next to the manifest, ``<its name>.aligned.jsonl.gz`` etc.
        form: ``jsonl``, Lhotse cuts with word alignments; ``ctm``; ``textgrid``, a folder with one
            per recording.

    Raises:
        DomainError: the manifest is malformed, ``output`` exists, or nothing could be aligned.
        CheckpointError: the model has no CTC head.
        RunError: ``output`` cannot be written.
    """
    manifest = Path(manifest)
    if manifest.is_dir():
        manifest = require_manifest(manifest)
    place = _place(manifest, output, form)
    from lhotse import CutSet

    cuts = read_manifest(manifest)
    if not any((cut.supervisions[0].text or "").strip() for cut in cuts):
        raise DomainError(
            f"{manifest}: none of its recordings has a transcript to align; expected 'text' in "
            "each row (without transcripts: asr-llm transcribe --word-timestamps)"
        )
    order = {cut.id: i for i, cut in enumerate(cuts)}
    total = sum(cut.duration for cut in cuts)
    kept = [] if times.anew else [cut for cut in cuts if word_items(cut)]
    cuts = CutSet.from_cuts(cut for cut in cuts if times.anew or not word_items(cut))
    dropped: list[Dropped] = []
    done = sum(cut.duration for cut in kept)
    for cut, proposed in times.of(cuts):
        found = thresholds.judge(proposed)
        if isinstance(found, Unaligned):
            dropped.append(Dropped(cut.id, found.reason))
        else:
            kept.append(_with_words(cut, found))
        done += cut.duration
        if progress:
            progress("aligning", done, total)
    if not kept:
        raise DomainError(
            f"{manifest}: none of {len(dropped)} recordings could be aligned (the first: "
            f"{dropped[0].reason}); check that transcripts belong to their audio"
        )
    kept.sort(key=lambda cut: order[cut.id])
    _write(CutSet.from_cuts(kept), place, form)
    words = sum(len(word_items(cut)) for cut in kept)
    return AlignedManifest(place, len(kept), words, tuple(dropped))


_SUFFIXES: dict[Form, tuple[str, ...]] = {
    "jsonl": (".jsonl.gz", ".jsonl"),
    "ctm": (".ctm",),
    "textgrid": ("",),
}


def _place(manifest: Path, output: str | Path | None, form: Form) -> Path:
    """Path of the result, which must not exist.

    Raises:
        DomainError: it exists, or the name does not fit.
        RunError: it cannot be written.
    """
    suffixes = _SUFFIXES[form]
    if output is None and is_pipe(manifest):
        raise DomainError(f"{manifest} is a pipe; expected an output file: give -o")
    stem = manifest.name.split(".")[0]
    place = Path(output) if output else manifest.with_name(f"{stem}.aligned{suffixes[0]}")
    if place.exists():
        raise DomainError(f"{place} exists already; expected a new file: remove it or give -o")
    if not place.name.endswith(suffixes):
        raise DomainError(f"{place}: expected a name ending in {' or '.join(suffixes)}")
    check_writable(place.parent)
    return place


def _imported(cuts: CutSet, timings: Timings) -> Iterator[tuple[Cut, Alignment | Unaligned]]:
    """The cut with the words of its recording whose midpoint lies in it."""
    for cut in cuts:
        sources = cut.recording.sources if cut.has_recording else []
        names = [*(str(source.source) for source in sources), cut.recording_id]
        found = (times_of(timings, name) or timings.get(name) for name in names)
        timed = next(filter(None, found), None)
        if timed is None:
            yield cut, Unaligned("no times for this recording")
            continue
        if (last := max(word.end for word in timed)) > cut.recording.duration + 0.5:
            seconds = f"{last:.1f} s, but the recording has {cut.recording.duration:.1f} s"
            yield cut, Unaligned(f"words are timed up to {seconds}")
            continue
        moved = [
            replace(word, start=word.start - cut.start, end=word.end - cut.start) for word in timed
        ]
        inside = [word for word in moved if 0 <= (word.start + word.end) / 2 < cut.duration]
        yield cut, match(cut.supervisions[0].text or "", inside)


def _aligned(
    cuts: CutSet, aligner: CtcModel, backend: Backend
) -> Iterator[tuple[Cut, Alignment | Unaligned]]:
    for batch in _batches(cuts):
        yield from _align(batch, aligner, backend)


def _batches(cuts: CutSet) -> Iterator[list[Cut]]:
    """Cuts of similar length in batches of about two minutes."""
    batch: list[Cut] = []
    for cut in sorted(cuts, key=lambda cut: cut.duration):
        if batch and cut.duration * (len(batch) + 1) > _BATCH_SECONDS:
            yield batch
            batch = []
        batch.append(cut)
    if batch:
        yield batch


def _align(
    cuts: list[Cut], aligner: CtcModel, backend: Backend
) -> Iterator[tuple[Cut, Alignment | Unaligned]]:
    loaded: list[tuple[Cut, Any]] = []
    for cut in cuts:
        try:
            samples = cut_audio(cut)
        except AudioError as error:
            yield cut, Unaligned(str(error))
        else:
            if len(samples) < SAMPLE_RATE // 10:
                yield cut, Unaligned("shorter than 0.1 s")
            else:
                loaded.append((cut, samples))
    if not loaded:
        return
    emissions = aligner.hear([samples for _, samples in loaded])
    texts = [cut.supervisions[0].text or "" for cut, _ in loaded]
    yield from zip((cut for cut, _ in loaded), aligner.align(emissions, texts, backend))


def _with_words(cut: Cut, found: Alignment) -> Cut:
    from lhotse.utils import fastcopy

    supervision = cut.supervisions[0]
    items = alignment_items(found.words, found.scores)
    alignment = {**(supervision.alignment or {}), "word": items}
    cut.supervisions = [fastcopy(supervision, alignment=alignment), *cut.supervisions[1:]]
    return cut


def _write(cuts: CutSet, place: Path, form: Form) -> None:
    """Write atomically, through a temporary name."""
    temporary = place.with_name(f".part-{place.name}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if form == "ctm":
            write_ctm(cuts, temporary)
        elif form == "textgrid":
            write_textgrids(cuts, temporary)
        else:
            cuts.to_file(temporary)
        temporary.replace(place)
    except OSError as error:
        shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)
        raise AsrLlmError(f"{place}: cannot be written ({error.strerror})") from error
