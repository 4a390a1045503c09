"""Measures systems on test sets: decodes, scores, writes results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.errors import RunError
from asr_llm.jobs.held_out import HeldOut
from asr_llm.jobs.transcripts import load
from asr_llm.progress import Feedback, Progress, labelled
from asr_llm.transcription.options import Cluster, Recogniser, TranscribeOptions

if TYPE_CHECKING:
    from lhotse import CutSet

    from asr_llm.evaluation.report import Shown
    from asr_llm.model.adapter_folder import AdapterFolder
    from asr_llm.transcription.fleet import Fleet
    from asr_llm.transcription.speech_llm import SpeechLLM

REPORT = "report.html"


@dataclass(frozen=True)
class System:
    """A system to measure: a model, its adapters, its decoding options, and where it decodes."""

    name: str
    model: str
    adapters: tuple[AdapterFolder, ...] = ()
    options: TranscribeOptions = TranscribeOptions()
    cluster: Cluster | None = None


@dataclass(frozen=True)
class Report:
    """The HTML report: its path, and whether it includes texts and audio."""

    path: Path
    title: str
    audio: bool = True
    text: bool = True
    recipe: Path | None = None


def measure(
    systems: list[System],
    sets: Mapping[str, HeldOut],
    place: Path | None = None,
    progress: Progress | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Decode what is missing, score everything, and write both to ``place``.

    Args:
        systems: WER is also split by the phrases of the first one's options.
        sets: "domain", and "general" if there is one.
        place: gets ``hypotheses/<system>.<set>.jsonl`` (raw: id, text, reference, speaker),
            ``scores.json``, ``mentions.jsonl`` and ``recordings.csv``; None: nothing is written.
        report: write a report on the domain's set.

    Returns:
        The contents of ``scores.json``.
    """
    from asr_llm.evaluation.entities import EntityFinder
    from asr_llm.evaluation.scores import score
    from asr_llm.jobs.score_folder import write, write_report

    texts = _decode(systems, sets, place, progress)
    biasing = systems[0].options.biasing
    main, general = sets["domain"], sets.get("general")
    scored = score(
        references=main.references,
        systems={s.name: texts[s.name, "domain"] for s in systems},
        finder=EntityFinder(main.patterns) if main.patterns else None,
        general={s.name: (general.references, texts[s.name, "general"]) for s in systems}
        if general
        else None,
        blocks=main.blocks,
        general_blocks=general.blocks if general else None,
        biasing=biasing.phrases if biasing is not None and biasing.phrases else None,
    )
    if place is not None:
        write(scored, place)
    if report is not None:
        write_report(report.path, scored, _shown(report, systems, main, texts))
    return scored.scores


def _shown(
    report: Report,
    systems: list[System],
    main: HeldOut,
    texts: Mapping[tuple[str, str], dict[str, str]],
) -> Shown:
    from asr_llm.evaluation.report import Shown

    adapters = ", ".join(str(adapter.path) for s in systems for adapter in s.adapters)
    recipe = report.recipe
    return Shown(
        title=report.title,
        references=main.references,
        systems={s.name: texts[s.name, "domain"] for s in systems},
        speakers=main.speakers,
        clips=clips(main.cuts) if report.audio and report.text else {},
        about={"model": systems[0].model} | ({"adapter": adapters} if adapters else {}),
        recipe=recipe.read_text("utf-8") if recipe is not None and recipe.is_file() else None,
        text=report.text,
    )


def clips(cuts: CutSet, budget: int = 20_000_000) -> dict[str, str]:
    """Audio sources for the player: embedded up to ``budget`` bytes, linked beyond that."""
    import base64
    import io

    import soundfile

    from asr_llm.corpus.recordings.audio import SAMPLE_RATE, cut_audio

    found: dict[str, str] = {}
    for cut in cuts:
        if budget > 0:
            opus = io.BytesIO()
            soundfile.write(opus, cut_audio(cut), SAMPLE_RATE, format="OGG", subtype="OPUS")
            encoded = base64.b64encode(opus.getvalue()).decode()
            budget -= len(encoded)
            found[cut.id] = f"data:audio/ogg;base64,{encoded}"
        elif cut.recording.sources and cut.recording.sources[0].type == "file":
            path = Path(cut.recording.sources[0].source).absolute().as_uri()
            found[cut.id] = f"{path}#t={cut.start:.2f},{cut.start + cut.duration:.2f}"
    return found


def _decode(
    systems: list[System],
    sets: Mapping[str, HeldOut],
    place: Path | None,
    progress: Progress | None,
) -> dict[tuple[str, str], dict[str, str]]:
    """Hypotheses by (system, set); complete ones in ``place`` are reused."""
    texts: dict[tuple[str, str], dict[str, str]] = {}
    loaded: tuple[System, SpeechLLM | Fleet] | None = None
    for system in systems:
        for name, test in sets.items():
            path = place / "hypotheses" / f"{system.name}.{name}.jsonl" if place else None
            found = _read_hypotheses(path, test) if path else None
            if found is None:
                if loaded is None or loaded[0] != system:
                    loaded = None  # its memory, or its actors' places, are for the next
                    loaded = system, _load(system)
                what = f"decoding: {system.name}, {name}"
                found = loaded[1].transcribe_cuts(test.cuts, labelled(progress, what))
                if path is not None:
                    _write_hypotheses(path, test, found)
            texts[system.name, name] = found
    return texts


def _load(system: System) -> SpeechLLM | Fleet:
    """Load a system."""
    recogniser = Recogniser(system.model, system.adapters)
    return load(recogniser, system.options, Feedback(), system.cluster)


def _read_hypotheses(path: Path, test: HeldOut) -> dict[str, str] | None:
    """Read earlier hypotheses if they belong to the same test set.

    Raises:
        RunError: the file is not one that ``_write_hypotheses`` wrote.
    """
    if not path.is_file():
        return None
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        before = {row["id"]: (row["reference"], row["speaker"]) for row in rows}
        found = {row["id"]: str(row["text"]) for row in rows}
    except (ValueError, KeyError, TypeError):
        raise RunError(
            f"{path}: expected id, text, reference and speaker in each line, as `evaluate` and "
            "`adapt` write them; move the file away, and it will be decoded again"
        ) from None
    speakers = test.speakers
    if before != {i: (text, speakers[i]) for i, text in test.references.items()}:
        return None
    return found


def _write_hypotheses(path: Path, test: HeldOut, texts: Mapping[str, str]) -> None:
    from asr_llm.files import write_text

    references, speakers = test.references, test.speakers
    rows = [
        {"id": i, "text": texts[i], "reference": references[i], "speaker": speakers[i]}
        for i in references
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
