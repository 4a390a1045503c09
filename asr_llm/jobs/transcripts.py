"""Transcribes audio files in order, and collects what determines a transcript."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.errors import AudioError
from asr_llm.jobs.adapters import check_adapters
from asr_llm.progress import Feedback
from asr_llm.transcription.options import Recogniser, TranscribeOptions
from asr_llm.version import __version__

if TYPE_CHECKING:
    from asr_llm.transcription.speech_llm import SpeechLLM


def load(recogniser: Recogniser, options: TranscribeOptions, feedback: Feedback) -> SpeechLLM:
    """Load a recogniser; ``feedback`` is told if word times are requested but not available.

    Raises:
        CheckpointError: the model or an adapter does not load.
    """
    check_adapters(recogniser.adapters, options.fusion, options.biasing)
    from asr_llm.transcription.speech_llm import SpeechLLM

    loaded = SpeechLLM.of(recogniser, options)
    if options.word_timestamps and loaded.aligner is None:
        feedback.tell(
            f"{recogniser.model} has no CTC head, so only segments are timed; for word "
            "times give --aligner, a NeMo CTC model (.nemo) or mini"
        )
    feedback.on_ready()
    return loaded


def hashes(recogniser: Recogniser) -> tuple[str, str | None]:
    """Return the SHA-256 of the model and of its adapters, which transcripts record.

    Raises:
        CheckpointError: there is no such model.
    """
    from asr_llm.model import checkpoints

    model = checkpoints.identity(checkpoints.locate(recogniser.model))
    return model, "+".join(adapter.sha256 for adapter in recogniser.adapters) or None


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


def unreadable(path: Path) -> AudioError | None:
    """Return why a file cannot be read, or None; needs no model."""
    from asr_llm.corpus.recordings.audio import audio_info

    try:
        audio_info(path)
    except AudioError as error:
        return error
    return None
