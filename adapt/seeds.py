"""Adapt with several seeds and state the mean and the range of what is gained and lost.

    python adapt/seeds.py domains/medical --seeds 1 2 3
    python adapt/seeds.py domains/medical --recipe adapt/synthetic.yaml

Run folders go to runs/seeds/; finished ones are only read again. Prints one Markdown row.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from asr_llm import jobs
from asr_llm.cli import silence_libraries
from asr_llm.recipe import Recipe, text_recipe


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("domain", type=Path)
    parser.add_argument("--recipe", type=Path, help="default: text only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    silence_libraries()

    recipe = Recipe.load(arguments.recipe) if arguments.recipe else text_recipe()
    rows, began = [], time.monotonic()
    for seed in arguments.seeds:
        run = Path("runs/seeds") / f"{arguments.domain.name}-{recipe.name}-{seed}"
        done = jobs.adapt(arguments.domain, recipe, seed=seed, run=run, resume=True)
        assert done.scores is not None, f"{arguments.domain} has no test set"
        rows.append(figures(done.scores))
    minutes = (time.monotonic() - began) / 60 / len(rows)
    cells = [spread([row[name] for row in rows]) for name in rows[0]]
    print("| recipe | " + " | ".join(rows[0]) + " | minutes a seed |")
    print(
        f"| {arguments.domain.name}, {recipe.name} | " + " | ".join(cells) + f" | {minutes:.1f} |"
    )


def figures(scores: dict[str, Any]) -> dict[str, float]:
    """The headline figures of a run, in percent."""
    found = {}
    for system in ("base", "adapted"):
        domain, general = scores["systems"][system], scores["general"][system]
        found[f"EER {system}"] = 100 * domain["entities"]["raw"]["eer"]
        found[f"WER {system}"] = 100 * domain["wer"]["normalized"]["rate"]
        found[f"general WER {system}"] = 100 * general["wer"]["normalized"]["rate"]
    return found


def spread(values: list[float]) -> str:
    """Mean (lowest to highest)."""
    if max(values) - min(values) < 0.05:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
