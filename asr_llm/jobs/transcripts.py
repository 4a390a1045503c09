"""Transcribes audio files in order, and collects what determines a transcript."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.corpus.audio import Source
from asr_llm.errors import AudioError
from asr_llm.jobs.adapters import check_adapters
from asr_llm.progress import Progress, labelled
from asr_llm.transcription.options import Recogniser, TranscribeOptions
from asr_llm.version import __version__

if TYPE_CHECKING:
    from asr_llm.transcription.journal import Journal
    from asr_llm.transcription.transcript import Segment, Transcript


def transcripts(
    paths: Iterable[str | Path | Source],
    options: TranscribeOptions = TranscribeOptions(),
    recogniser: Recogniser = Recogniser(),
    *,
    journal: Callable[[Source], Journal] | None = None,
    on_segment: Callable[[Segment], None] | None = None,
    progress: Progress | None = None,
    on_ready: Callable[[], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Iterator[Transcript | AudioError]:
    """Transcribe audio files in order; an unreadable file gives its error.

    Args:
        journal: stores what is decoded of a file until its transcript is written.
        on_segment: called with each segment as soon as it is final.
        on_ready: called when the model is loaded, before the first file.
        tell: called with a message if word times are requested but not available.

    Raises:
        CheckpointError: the model or an adapter does not load.
    """
    files = [Source.of(path) for path in paths]
    unreadable = [_unreadable(source.path) for source in files]
    if all(unreadable):  # no need to load the model
        yield from filter(None, unreadable)
        return
    settings = text_settings(recogniser, options)  # before the model is loaded
    from asr_llm.transcription.speech_llm import SpeechLLM

    loaded = SpeechLLM.of(recogniser, options)
    if options.word_timestamps and loaded.aligner is None and tell is not None:
        tell(
            f"{recogniser.model} has no CTC head, so only segments are timed; for word "
            "times give --aligner, a NeMo CTC model (.nemo) or mini"
        )
    if on_ready is not None:
        on_ready()
    adapters = "+".join(adapter["sha256"] for adapter in settings["adapters"]) or None
    meter = labelled(progress, "transcribing")
    for result in loaded.transcribe_many(files, meter, journal, on_segment):
        if not isinstance(result, AudioError):
            result = replace(
                result, model_sha256=settings["model"]["sha256"], adapter_sha256=adapters
            )
        yield result


_NO_SETTINGS = (
    "ctc_weight",
    "first_pass_weight",
    "confidence",
    "max_new_tokens",
    "bf16",
    "drafts",
    "keep_encoded",
)
"""Options without a command-line flag, which are constant."""


def text_settings(recogniser: Recogniser, options: TranscribeOptions) -> dict[str, Any]:
    """Everything besides the audio that determines a transcript, for ``OutputFolder``.

    Raises:
        CheckpointError: there is no such model or adapter.
    """
    from asr_llm.model import checkpoints
    from asr_llm.model.adapters import fusion_weights

    check_adapters(recogniser.adapters, options.fusion, options.biasing)
    folder = checkpoints.locate(recogniser.model)
    plain = {name: value for name, value in asdict(options).items() if name not in _NO_SETTINGS}
    return plain | {
        "asr_llm": __version__,
        "aligner": recogniser.aligner,
        "model": {"name": recogniser.model, "sha256": checkpoints.identity(folder)},
        "adapters": [
            {
                "name": str(adapter.path),
                "sha256": adapter.sha256,
                "biasing": adapter.biasing.strength if adapter.biasing else 0,
            }
            for adapter in recogniser.adapters
        ],
        "fusion": fusion_weights(recogniser.adapters, options.fusion),
    }


def _unreadable(path: Path) -> AudioError | None:
    from asr_llm.corpus.audio import audio_info

    try:
        audio_info(path)
    except AudioError as error:
        return error
    return None
