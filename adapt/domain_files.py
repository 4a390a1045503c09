"""What the scripts that make domain folders share: how the files are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml


def write_domain(
    out: Path,
    config: Mapping[str, Any],
    text: Mapping[str, Iterable[str]],
    terms: Mapping[str, Iterable[str]],
) -> None:
    """Write ``domain.yaml``, sentences by split, and terms by label."""
    for split, lines in text.items():
        _write(out / ("" if split == "train" else split) / "text.txt", lines)
    for label, lines in terms.items():
        _write(out / "terms" / f"{label.lower()}.tsv", lines)
    (out / "domain.yaml").write_text(yaml.safe_dump(dict(config), sort_keys=False), "utf-8")


def _write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
