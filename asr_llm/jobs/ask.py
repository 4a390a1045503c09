"""The job behind ``asr-llm ask``: one question about a recording."""

from __future__ import annotations

from pathlib import Path

from asr_llm import defaults
from asr_llm.errors import AudioError
from asr_llm.jobs import asking
from asr_llm.jobs.measurement import System
from asr_llm.model.adapter_folder import AdapterFolder

MAX_SECONDS = 60.0


def ask(
    audio: str | Path,
    question: str | None = None,
    *,
    model: str = defaults.MODEL,
    adapter: str | Path | None = None,
    max_new_tokens: int = 64,
    cascade: bool | None = None,
) -> str:
    """Ask about a recording; without a question the recording itself is what is asked.

    Args:
        cascade: show the LLM what a first pass wrote, in place of the speech; by default where the
            model has one.

    Raises:
        AudioError: it cannot be read, is longer than a minute, or nobody speaks in it.
        CheckpointError: the model or the adapter does not load.
    """
    from asr_llm.corpus.recordings.audio import SAMPLE_RATE, load_audio
    from asr_llm.corpus.speech.synthesis import Utterance
    from asr_llm.transcription.chunks import chunks
    from asr_llm.transcription.vad import listener

    samples = load_audio(audio)
    if len(samples) > MAX_SECONDS * SAMPLE_RATE:
        raise AudioError(
            f"{audio} is {len(samples) / SAMPLE_RATE:.0f} s long; expected at most "
            f"{MAX_SECONDS:.0f} s: extract the part that the question is about"
        )
    if not any(chunks(iter([samples]), listener("silero"), MAX_SECONDS)):
        raise AudioError(f"{audio}: nobody speaks; expected a recording of speech")
    from asr_llm.decoding.answers import answer
    from asr_llm.sequences.tasks import message

    recogniser = asking.load(System("asked", model, AdapterFolder.read_all(adapter)))
    loaded = recogniser.model
    if cascade is None:
        cascade = recogniser.pipeline.decoder.first_pass is not None
    parts = asking.hear(recogniser, [Utterance("", "", samples)], cascade)
    if question is not None:
        parts.append(question)
    (said,) = answer(loaded, [message(parts, loaded.chat)], max_new_tokens)
    return said
