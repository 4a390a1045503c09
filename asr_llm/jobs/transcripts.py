"""Audio files into transcripts, in order, and what determines a transcript."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.corpus.audio import Source
from asr_llm.errors import AudioError
from asr_llm.jobs.adapters import check_adapters
from asr_llm.progress import Feedback, labelled
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
    feedback: Feedback = Feedback(),
) -> Iterator[Transcript | AudioError]:
    """Transcribe audio files, in order; a file that cannot be read gives its error instead.

    Args:
        journal: where to keep what is decoded of a file until its transcript is there.
        on_segment: told each segment as soon as it is certain.
        feedback: told where word times were asked for and nothing can tell them.

    Raises:
        CheckpointError: the model or an adapter does not load.
    """
    files = [Source.of(path) for path in paths]
    unreadable = [_unreadable(source.path) for source in files]
    if all(unreadable):  # known without waiting for the model
        yield from filter(None, unreadable)
        return
    settings = text_settings(recogniser, options)  # before the model is loaded
    from asr_llm.transcription.speech_llm import SpeechLLM

    loaded = SpeechLLM.of(recogniser, options)
    if options.word_timestamps and loaded.aligner is None:
        feedback.tell(
            f"{recogniser.model} has no CTC head, so only segments are timed; for word "
            "times give --aligner, a NeMo CTC model (.nemo) or mini"
        )
    feedback.on_ready()
    adapters = "+".join(adapter["sha256"] for adapter in settings["adapters"]) or None
    meter = labelled(feedback.progress, "transcribing")
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
"""Options that the command line has no flag for: they are what they always are."""


def text_settings(recogniser: Recogniser, options: TranscribeOptions) -> dict[str, Any]:
    """All that determines a transcript but for the audio: what an ``OutputFolder`` remembers.

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
