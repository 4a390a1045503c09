"""Compare recipes on a domain: what each gains, what it costs, what is left of the language model.

    python adapt/compare.py domains/medical                          the rows of compare.yaml
    python adapt/compare.py domains/medical --rows "ASR only" "all together" --seeds 1 2 3
    python adapt/compare.py domains/medical --recipes adapt/text.yaml adapt/synthetic.yaml

Run folders go to runs/compare/DOMAIN/. What is finished is only read again, what was stopped goes
on, so the table can be made in as many sittings as it takes; with --record, on as many machines:
figures are kept in that file, and those of the same base and recipe are taken from there. Ours are
in adapt/compared.jsonl. Prints Markdown; figures are percent: the mean over the seeds, with half
its 95% interval (Student's t) where there are three or more, else the lowest and highest. T2T and
S2T: right answers to the questions of eval/extractive.yaml, asked in writing and aloud.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from record import Figures, Record, minutes, recipes, row

from asr_llm.cli import silence_libraries
from asr_llm.evaluation.spoken_qa import Suite, read_suite
from asr_llm.files import write_text
from asr_llm.jobs import adapt, qa
from asr_llm.jobs.measurement import System
from asr_llm.recipe import Recipe
from asr_llm.training.run_folder import RunFolder

HERE = Path(__file__).resolve().parent
SUITE = HERE.parent / "eval" / "extractive.yaml"
COLUMNS = ("EER", "WER domain", "WER general", "T2T", "S2T", "gap")


def main() -> None:
    """Run what is not finished, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("domain", type=Path)
    parser.add_argument("--rows", nargs="+", help="of compare.yaml; default: all")
    parser.add_argument("--recipes", type=Path, nargs="+", help="recipes in place of the rows")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--steps", type=int, help="in place of the recipes'")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    parser.add_argument("--record", type=Path, help="JSON lines of figures, read and added to")
    arguments = parser.parse_args()
    silence_libraries()

    record = Record(arguments.record, arguments.domain.name)
    table: list[tuple[str, list[Figures]]] = []
    for name, recipe in _recipes(arguments.recipes, arguments.rows):
        slug = re.sub(r"\W+", "-", name).strip("-").lower()
        found = []
        for seed in arguments.seeds:
            run = arguments.out / arguments.domain.name / f"{slug}-{seed}"
            chosen = recipe.override(model=arguments.model, seed=seed, steps=arguments.steps)
            base, adapted = record.base(chosen), record.trained(name, chosen)
            if base is None or adapted is None:
                RunFolder(run).open(chosen, resume=True)
                _share_base(run)
                adapt.adapt(arguments.domain, chosen, run=run, resume=True, report_audio=False)
            if adapted is None:
                _ask("adapted", run, arguments.model)
                adapted = record.add(name, chosen, _figures(run, "adapted"))
            if base is None:
                _ask("base", run, arguments.model)
                base = record.add("base", chosen, _figures(run, "base"))
            found.append(adapted)
        if not table:
            table.append(("base", [base]))
        table.append((name, found))
        print(row(*table[-1], COLUMNS), flush=True)
    print(
        "\n| recipe | " + " | ".join(COLUMNS) + " | minutes |\n" + "|---" * (2 + len(COLUMNS)) + "|"
    )
    print("\n".join(row(*one, COLUMNS) for one in table))


def _recipes(paths: list[Path] | None, names: list[str] | None) -> Iterator[tuple[str, Recipe]]:
    if paths:
        for path in paths:
            yield path.name, Recipe.load(path)
        return
    yield from recipes(HERE / "compare.yaml", names)


def _share_base(run: Path) -> None:
    """Take over what the base heard from a run beside this one; it is decoded but once."""
    made = sorted(run.parent.glob("*/hypotheses/base.*.jsonl"))
    own = run / "hypotheses"
    if made and not own.exists():
        own.mkdir(parents=True)
        for path in made[0].parent.glob("base.*.jsonl"):
            shutil.copy(path, own)


def _ask(system: str, run: Path, model: str) -> None:
    """Put the questions to a run's adapter, or to its base, unless that is done."""
    place = run / f"qa-{system}.json"
    if not place.is_file():
        adapters = (run / "adapter",) if system == "adapted" else ()
        figures, _ = qa.run_suite(*_questions(), System(system, model, adapters))
        write_text(place, json.dumps(figures, indent=2) + "\n")


@cache
def _questions() -> tuple[Suite, qa.SpokenParts]:
    """The questions, and how they sound: spoken once, and only if any are to be put."""
    suite = read_suite(SUITE)
    return suite, qa.speak(suite)


def _figures(run: Path, system: str) -> Figures:
    scores = json.loads((run / "scores.json").read_text("utf-8"))
    domain, general = scores["systems"][system], scores["general"][system]
    asked = json.loads((run / f"qa-{system}.json").read_text("utf-8"))
    return {
        "EER": 100 * domain["entities"]["raw"]["eer"],
        "WER domain": 100 * domain["wer"]["normalized"]["rate"],
        "WER general": 100 * general["wer"]["normalized"]["rate"],
        "T2T": 100 * asked["text"]["accuracy"],
        "S2T": 100 * asked["speech"]["accuracy"],
        "gap": 100 * asked["gap"]["difference"],
        "minutes": minutes(run) if system == "adapted" else 0.0,
    }


if __name__ == "__main__":
    main()
