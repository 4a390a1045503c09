"""What the drivers share: rows of a compare.yaml, a record of finished runs, and their table.

A row has the recipe, complete with defaults, the hash of the base, a hash of each file of data that
the recipe names, and the commit that made it, so that a figure can be traced and is not made twice.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from scipy import stats

from asr_llm.model.checkpoints import identity, locate
from asr_llm.recipe import Recipe

HERE = Path(__file__).resolve().parent
Figures = dict[str, float]


class Record:
    """Figures of finished runs of one experiment, in a file if there is one to keep them in."""

    def __init__(self, path: Path | None, experiment: str) -> None:
        self.path, self.experiment = path, experiment
        lines = path.read_text("utf-8").splitlines() if path and path.is_file() else []
        self.rows = [json.loads(line) for line in lines]

    def base(self, recipe: Recipe) -> Figures | None:
        """Of the base that a recipe begins with."""
        return next((row["figures"] for row in self._of("base", recipe)), None)

    def trained(self, name: str, recipe: Recipe) -> Figures | None:
        """Of a run of the very same recipe, defaults too; a key added since has its default."""
        for row in self._of(name, recipe):
            if Recipe.model_validate(row["recipe"]) == recipe:
                return cast(Figures, row["figures"])
        return None

    def add(self, name: str, recipe: Recipe, figures: Figures) -> Figures:
        """Keep figures at once: the next run may be stopped."""
        kept = self._key(name, recipe) | {
            "commit": _commit(),
            "data": dict(_hashes(recipe)),
            "figures": figures,
            "recipe": recipe.dump(),
        }
        self.rows.append(kept)
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(kept) + "\n")
        return figures

    def _of(self, name: str, recipe: Recipe) -> Iterator[dict[str, Any]]:
        key = self._key(name, recipe)
        return (row for row in self.rows if row.items() >= key.items())

    def _key(self, name: str, recipe: Recipe) -> dict[str, Any]:
        base = identity(locate(recipe.model))[:16]
        return {"domain": self.experiment, "row": name, "base": base}


def recipes(path: Path, names: list[str] | None) -> Iterator[tuple[str, Recipe]]:
    """The rows of a compare.yaml that are asked for (default: all), each with its recipe.

    Raises:
        SystemExit: there is no such row.
    """
    listed = yaml.safe_load(path.read_text("utf-8"))
    for name in names or listed["rows"]:
        if name not in listed["rows"]:
            known = ", ".join(listed["rows"])
            raise SystemExit(f"error: no row {name!r}; expected one of: {known}")
        sources = listed["rows"][name]
        yield name, Recipe.model_validate(listed["recipe"] | {"name": name, "sources": sources})


def row(name: str, found: list[Figures], columns: Sequence[str]) -> str:
    """A row of Markdown: the spread of each column over the seeds, and the mean minutes."""
    cells = [spread([one[column] for one in found if column in one]) for column in columns]
    took = statistics.mean(figures["minutes"] for figures in found)
    return f"| {name} | " + " | ".join([*cells, f"{took:.1f}"]) + " |"


def difference(
    name: str, found: list[Figures], first: list[Figures], columns: Sequence[str]
) -> str:
    """A row of Markdown: what a row changes against the first, paired by seed."""
    pairs = list(zip(found, first, strict=True))
    cells = [
        spread([a[column] - b[column] for a, b in pairs if column in a and column in b])
        for column in columns
    ]
    return f"| {name}, change | " + " | ".join([*cells, ""]) + " |"


def spread(values: list[float]) -> str:
    """Mean ± half of its 95% interval by Student's t, or of two (lowest to highest)."""
    if not values:
        return ""
    mean = statistics.mean(values)
    if max(values) - min(values) < 0.05:
        return f"{mean:.1f}"
    if len(values) < 3:
        return f"{mean:.1f} ({min(values):.1f} to {max(values):.1f})"
    error = statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.1f} ± {float(stats.t.ppf(0.975, len(values) - 1)) * error:.1f}"


def minutes(run: Path) -> float:
    """How long a run trained; of one that was stopped, the longest stretch."""
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    return max(float(json.loads(line)["seconds"]) for line in lines) / 60


def _commit() -> str | None:
    """The commit of this repository, with a + if files were changed since; None outside of one."""
    asked = ["git", "-C", str(HERE), "describe", "--always", "--dirty=+", "--abbrev=12"]
    said = subprocess.run(asked, capture_output=True, text=True)
    return said.stdout.strip() or None if said.returncode == 0 else None


def _hashes(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Of manifests, and of folders their text; the audio is not read."""
    for source in recipe.sources:
        place = Path(source.data)
        files = [place] if place.is_file() else sorted(place.rglob("*.txt"))
        if files:
            digest = hashlib.sha256(b"".join(file.read_bytes() for file in files))
            yield source.data, digest.hexdigest()[:16]
