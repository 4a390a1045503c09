"""Tables as text, Markdown or HTML; the first row is the heading.

Column ``left`` holds names: it is left-aligned and, in text, wrapped if too long. All others are
figures.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence

WIDTH = 80

Rows = Sequence[Sequence[str]]


def text(rows: Rows, left: int = 0) -> str:
    """Format at most 80 columns wide, without truncation."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    room = WIDTH - sum(widths) + widths[left] - 2 * (len(widths) - 1)
    widths[left] = min(widths[left], max(8, room))
    return "".join(_folded(row, widths, left) for row in rows)


def _folded(row: Sequence[str], widths: Sequence[int], left: int) -> str:
    """Lines of a row, with a long name in column ``left`` wrapped."""
    parts = textwrap.wrap(row[left], widths[left]) or [""]
    cells = [
        parts[0].ljust(width) if k == left else cell.rjust(width)
        for k, (cell, width) in enumerate(zip(row, widths))
    ]
    before = " " * sum(width + 2 for width in widths[:left])
    lines = ["  ".join(cells).rstrip(), *(before + part for part in parts[1:])]
    return "".join(f"{line}\n" for line in lines)


def markdown(rows: Rows, left: int = 0) -> str:
    """Format as a Markdown table."""
    heading, *others = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    rule = ["---" if k == left else "---:" for k in range(len(heading))]
    return "".join(f"| {' | '.join(row)} |\n" for row in [heading, rule, *others])


def html_table(rows: Rows) -> str:
    """Format as a ``table`` element."""
    heading, *others = rows
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in heading)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n"
        for row in others
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"
