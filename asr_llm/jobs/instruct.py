"""The job behind ``asr-llm instruct``: a suite of instructions, given in writing and in speech."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asr_llm import defaults
from asr_llm.jobs import asking
from asr_llm.jobs.asking import Answers
from asr_llm.progress import Progress, labelled

if TYPE_CHECKING:
    from asr_llm.corpus.speech.synthesis import Utterance
    from asr_llm.evaluation.instructions import Instruction, InstructionSuite, Variant
    from asr_llm.jobs.measurement import System
    from asr_llm.transcription.speech_llm import SpeechLLM


@dataclass(frozen=True)
class Put:
    """An instruction in one variant: its words, and their speech."""

    instruction: Instruction
    text: str
    speech: Utterance


@dataclass(frozen=True)
class InstructOptions:
    """How a suite of instructions is given.

    Args:
        variants: override the suite's own, if any.
        cascade: show the LLM what a first pass wrote, in place of the speech.
    """

    variants: tuple[str, ...] = ()
    cascade: bool = False


def instruct(
    suite: str | Path,
    *,
    model: str = defaults.MODEL,
    adapter: str | Path | None = None,
    output: str | Path | None = None,
    options: InstructOptions = InstructOptions(),
    progress: Progress | None = None,
) -> Answers:
    """Give a model, and its adapter, the instructions of a suite as text and as speech.

    Args:
        suite: YAML, or a bare file of instructions; see ``evaluation.instructions``.
        adapter: measured beside the model alone.
        output: new or empty folder for ``scores.json`` and ``answers.jsonl``.

    Raises:
        AsrLlmError: the suite, a voice, the model, the adapter or ``output`` is at fault.
    """
    from asr_llm.evaluation import caveats
    from asr_llm.evaluation.instructions import read_instructions

    read = read_instructions(suite, options.variants)
    place = asking.place_for(output)
    measured = asking.systems(model, adapter)
    put = {variant: speak(read, variant, progress) for variant in read.config.variants}
    figures, rows = asking.each(
        measured, lambda system: run_suite(read, put, system, options.cascade, progress)
    )
    scores = {
        "suite": read.config.name,
        "cascade": options.cascade,
        "systems": figures,
        "warnings": caveats.of_few(len(read.instructions), "instruction"),
    }
    return asking.save(place, scores, rows)


def speak(suite: InstructionSuite, variant: Variant, progress: Progress | None = None) -> list[Put]:
    """The instructions of a suite in one variant; ``corrected`` skips those that correct nothing.

    Raises:
        SynthesisError: a voice is not there.
        AudioError: a recording of the suite cannot be read.
    """
    from asr_llm.corpus.recordings.audio import load_audio
    from asr_llm.corpus.speech.augment import add_noise
    from asr_llm.corpus.speech.spoken import vary_delivery
    from asr_llm.corpus.speech.synthesis import Utterance, select_voices, synthesize

    config = suite.config
    voices = select_voices(config.accents if variant == "accented" else config.voices)
    tell = labelled(progress, f"speaking: {variant}")
    put: list[Put] = []
    for i, one in enumerate(suite.instructions):
        text = _worded(one, variant)
        if text is None:
            continue
        if one.audio is not None:
            speech = Utterance(text, one.id, load_audio(one.audio))
        else:
            speech = synthesize(text, voices[i % len(voices)], vary_delivery(text))
        if variant == "noisy":
            rng = np.random.default_rng(i)
            noisy = add_noise(speech.samples, rng, snr=config.snr, slope=0.5)
            speech = replace(speech, samples=np.clip(noisy, -1.0, 1.0))
        put.append(Put(one, text, speech))
        if tell:
            tell(i + 1, len(suite.instructions))
    return put


def _worded(one: Instruction, variant: Variant) -> str | None:
    """The words of an instruction in a variant, the same every time."""
    from asr_llm.corpus.text.disfluency import corrected, disfluent

    rng = random.Random(one.id)
    if variant == "disfluent":
        return disfluent(one.prompt.text, rng)
    if variant != "corrected":
        return one.prompt.text
    earlier = one.superseded
    return None if earlier is None else corrected(earlier.text, one.prompt.text, rng)


def run_suite(
    suite: InstructionSuite,
    put: Mapping[Variant, list[Put]],
    system: System,
    cascade: bool = False,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The figures of a system by variant (``instructions.summarize``), and every answer."""
    from asr_llm.evaluation.instructions import judge, summarize
    from asr_llm.sequences.tasks import message

    loaded = asking.load(system)
    chat, most = loaded.model.chat, suite.config.max_new_tokens
    written: dict[str, str] = {}  # identical wordings are asked in writing once
    figures: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for variant, asked in put.items():
        tell = labelled(progress, f"asking: {system.name}, {variant}")
        new = [one.text for one in asked if one.text not in written]
        said = _answers(loaded, [message([text], chat) for text in new], most, tell)
        written.update(zip(new, said))
        heard = asking.hear(loaded, [one.speech for one in asked], cascade)
        spoken = _answers(loaded, [message([speech], chat) for speech in heard], most, tell)
        verdicts: dict[str, list[Any]] = {"text": [], "speech": []}
        for one, *both in zip(asked, (written[one.text] for one in asked), spoken):
            taken_back = one.instruction.superseded if variant == "corrected" else None
            for kind, text in zip(verdicts, both):
                verdict = judge(text, one.instruction.prompt, taken_back, one.text)
                verdicts[kind].append(verdict)
                rows.append(
                    {
                        "system": system.name,
                        "variant": variant,
                        "asked": kind,
                        "key": one.instruction.id,
                        "prompt": one.text,
                        "said": text,
                        "strict": verdict.strict,
                        "loose": verdict.loose,
                        "echoed": verdict.echoed,
                    }
                )
        figures[variant] = summarize([one.instruction.prompt for one in asked], **verdicts)
    return figures, rows


def _answers(loaded: SpeechLLM, prompts: Sequence[Any], most: int, tell: Any) -> list[str]:
    from asr_llm.decoding.answers import answer

    return asking.in_batches(
        lambda some: answer(loaded.model, list(some), most, as_written=True), prompts, tell
    )
