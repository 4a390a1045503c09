"""For mkdocs: documents that lie beside the code become pages, and links between all of them hold.

A link to another file of the repository, which the site does not have, becomes its path in
code type. One to a file that does not exist is a warning, which ``strict`` makes an error.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

log = logging.getLogger("mkdocs.plugins.links")
ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    **{
        path: path
        for path in (
            "CONTRIBUTING.md",
            "CHANGELOG.md",
            "adapt/README.md",
            "adapt/mini/RESULTS.md",
            "eval/RESULTS.md",
            "eval/SCORES.md",
            "eval/report.png",
        )
    },
}
"""Files outside docs/ that the site holds: path in the repository, path in the site."""

_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.S | re.M)


def on_files(files: Files, config: Any) -> Files:
    """Add the documents that lie outside docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links where the site has what they name."""
    site = page.file.src_uri
    source = next((path for path, at in PAGES.items() if at == site), f"docs/{site}")

    def point(match: re.Match[str]) -> str:
        label, link, anchor = match.group(1), match.group(2), match.group(3) or ""
        if re.match(r"[a-z]+:", link):
            return match.group(0)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        if path in PAGES or path.startswith("docs/"):
            target = PAGES.get(path, path.removeprefix("docs/"))
            return f"[{label}]({posixpath.relpath(target, posixpath.dirname(site) or '.')}{anchor})"
        if not (ROOT / path).exists():
            log.warning("%s links to %s, which is not there", source, path)
        return label if path in label else f"{label} (`{path}`)"

    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(point, part) for part in parts)
