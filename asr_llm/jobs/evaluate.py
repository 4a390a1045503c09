"""The job behind ``asr-llm evaluate``: a model, with and without adapters, on a test set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asr_llm import defaults
from asr_llm.corpus.domain.folder import Domain
from asr_llm.errors import AsrLlmError, DomainError
from asr_llm.files import check_file, new_folder
from asr_llm.jobs.adapters import check_adapters
from asr_llm.jobs.held_out import (
    general_set,
    has_test_set,
    held_out_sets,
    is_recordings,
    manifest_set,
)
from asr_llm.jobs.measurement import REPORT, Report, System, measure
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.progress import Progress
from asr_llm.transcription.options import Cluster, TranscribeOptions


@dataclass(frozen=True)
class Evaluation:
    """``scores`` as in ``scores.json``; ``folder`` has it and the raw hypotheses, if any."""

    scores: dict[str, Any]
    folder: Path | None


def evaluate(
    data: str | Path,
    *,
    model: str = defaults.MODEL,
    adapter: str | Path | Iterable[str | Path] | None = None,
    options: TranscribeOptions = TranscribeOptions(),
    baseline: str | Path | None = None,
    general: str | Path | None = None,
    output: str | Path | None = None,
    report: str | Path | None = None,
    report_audio: bool = True,
    report_text: bool = True,
    progress: Progress | None = None,
    cluster: Cluster | None = None,
) -> Evaluation:
    """Evaluate a model, with and without adapters, on a test set.

    Args:
        data: a domain folder, whose test set is used, or a manifest of recordings (NeMo, Lhotse,
            ``trans.txt``), which has words but no entities to score.
        adapter: compared with the model alone, or with ``baseline``; several are used together.
        options: of decoding. ``fusion`` is for ``adapter`` alone; ``biasing`` are phrases that all
            systems boost, in addition to their adapters' own, and WER is split by them.
        baseline: an adapter to compare with instead of the model alone.
        general: domain folder or manifest that measures forgetting; default: the checkpoint's test
            set, if ``data`` is a domain.
        output: new or empty folder for ``hypotheses/``, ``scores.json``, ``mentions.jsonl``,
            ``recordings.csv`` and ``report.html``.
        report: path of the HTML report, if not in ``output``.
        report_audio, report_text: whether it includes the audio and text of the test set.
        cluster: where to decode; default: in this process.

    Raises:
        AsrLlmError: the data, the model, an adapter or ``output`` is invalid.
    """
    place = new_folder(output) if output is not None else None
    if report is not None:
        check_file(Path(report), "--report")
    folders = AdapterFolder.read_all(adapter)
    if baseline is not None and not folders:
        raise AsrLlmError("--baseline requires --adapter, which is compared with it")
    baselines = AdapterFolder.read_all(baseline)
    check_adapters(folders, model, options.fusion, options.biasing, baselines)
    is_domain = Path(data).is_dir() and not is_recordings(data)
    main = Domain.load(data) if is_domain else manifest_set(data)
    if isinstance(main, Domain) and not has_test_set(main):
        raise DomainError(
            f"{data}: no test set; expected test/text.txt, test recordings or test templates. "
            f"See: asr-llm domain check {data}"
        )
    from asr_llm.model import checkpoints  # takes seconds

    base = checkpoints.locate(model)
    default = general_set(general, base) if is_domain or general is not None else None
    sets = held_out_sets(main, default)
    plain = replace(options, fusion=None)
    systems = [System("base", model, options=plain, cluster=cluster)]
    if baselines:
        systems = [System("baseline", model, baselines, plain, cluster)]
    if folders:
        systems.append(System("adapted", model, folders, options, cluster))
    wanted = None
    if place is not None or report is not None:
        wanted = Report(
            Path(report) if report is not None else Path(place or "") / REPORT,
            f"{main.name if isinstance(main, Domain) else Path(data).name}: {model}",
            audio=report_audio,
            text=report_text,
        )
    return Evaluation(measure(systems, sets, place, progress, wanted), place)
