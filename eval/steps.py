"""What each step of an adaptation gained: a record of figures, and the chart that is drawn from it.

    python eval/steps.py docs/case-study.jsonl --add "text and list" runs/books-text
    python eval/steps.py docs/case-study.jsonl -o docs/case-study.svg

`--add` takes the folder of `asr-llm adapt` or of `evaluate -o`; the first one also gives the base.
A step of the same name is replaced. The chart (matplotlib, of the docs extra) shows term errors
(EER, raw) and the word error rates of domain and general speech, with 95% intervals, for the
reader's light or dark colours. Prints the record as Markdown.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "adapt"))

from record import minutes

PANELS = {"eer": "Terms missed, %", "wer": "WER, domain, %", "general": "WER, general, %"}
COLOURS = {"#123456": ("#1f2328", "#e6edf3"), "#234567": ("#0969da", "#4493f8")}
"""Of the drawing: in its place the colours for light and dark; text first, then bars."""

Row = dict[str, Any]


def main() -> None:
    """Add a step, draw the chart, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path, help="JSON lines, one a step")
    parser.add_argument("--add", nargs=2, metavar=("NAME", "FOLDER"))
    parser.add_argument("-o", "--output", type=Path, help="SVG to draw")
    arguments = parser.parse_args()
    rows = read(arguments.record)
    if arguments.add:
        name, folder = arguments.add
        rows = added(rows, name, Path(folder))
        arguments.record.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    if arguments.output:
        arguments.output.write_text(chart(rows), "utf-8")
    print("| step | " + " | ".join(PANELS.values()) + " | minutes |\n" + "|---" * 5 + "|")
    for row in rows:
        cells = [_cell(row[panel]) for panel in PANELS]
        print(f"| {row['step']} | " + " | ".join(cells) + f" | {row['minutes'] or ''} |")


def read(record: Path) -> list[Row]:
    """The steps so far, in order."""
    lines = record.read_text("utf-8").splitlines() if record.is_file() else []
    return [json.loads(line) for line in lines]


def added(rows: list[Row], name: str, folder: Path) -> list[Row]:
    """The steps with one more, or another of that name in its place; and the base before all."""
    scores = json.loads((folder / "scores.json").read_text("utf-8"))
    if not rows:
        rows = [_step("base", scores, "base", None)]
    adapted = next(system for system in scores["systems"] if system != "base")
    new = _step(name, scores, adapted, _minutes(folder))
    found = [row["step"] for row in rows]
    if name in found:
        return [new if row["step"] == name else row for row in rows]
    return [*rows, new]


def _step(name: str, scores: Row, system: str, took: int | None) -> Row:
    one, general = scores["systems"][system], scores["general"][system]
    raw, wer, other = one["entities"]["raw"], one["wer"]["normalized"], general["wer"]["normalized"]
    return {
        "step": name,
        "eer": _percent(raw["eer"], raw),
        "wer": _percent(wer["rate"], wer),
        "general": _percent(other["rate"], other),
        "mentions": raw["mentions"],
        "false_insertions": raw["false_insertions"],
        "minutes": took,
    }


def _percent(value: float, interval: Row) -> list[float]:
    return [round(100 * x, 1) for x in (value, interval["low"], interval["high"])]


def _minutes(folder: Path) -> int | None:
    """How long it was trained, if it was in this folder."""
    if not (folder / "metrics.jsonl").is_file():
        return None
    return round(minutes(folder))


def _cell(figure: list[float]) -> str:
    value, low, high = figure
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


def chart(rows: list[Row]) -> str:
    """An SVG of a panel for each rate, a bar for each step."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    ink, blue = COLOURS
    shared = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    style = dict.fromkeys(shared, ink) | {
        "svg.fonttype": "none",  # text stays text, in the reader's font
        "svg.hashsalt": "steps",  # the same bytes each time
        "font.size": 10,
    }
    with pyplot.rc_context(style):
        size = (9, 1.1 + 0.34 * len(rows))
        figure, axes = pyplot.subplots(1, 3, figsize=size, sharey=True, layout="constrained")
        places = range(len(rows))
        for ax, (panel, title) in zip(axes, PANELS.items()):
            values = [row[panel][0] for row in rows]
            ax.barh(places, values, color=blue, height=0.6, alpha=0.75)
            for place, (_, low, high) in zip(places, (row[panel] for row in rows)):
                ax.plot((low, high), (place, place), color=ink, linewidth=1.5)
            ax.set_title(title, fontsize=10)
            ax.set_xlim(left=0)
            ax.spines[["top", "right"]].set_visible(False)
        axes[0].set_yticks(places, [row["step"] for row in rows])
        axes[0].invert_yaxis()
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
        pyplot.close(figure)
    return _for_both(drawn.getvalue())


def _for_both(svg: str) -> str:
    """Colours by the reader's preference: matplotlib writes them into each element."""
    for i, colour in enumerate(COLOURS):
        svg = svg.replace(colour, f"var(--c{i})")
    light, dark = (
        "".join(f"--c{i}:{pair[k]};" for i, pair in enumerate(COLOURS.values())) for k in (0, 1)
    )
    style = f"svg{{{light}font-family:sans-serif}}"
    style += f"@media (prefers-color-scheme:dark){{svg{{{dark}}}}}"
    return re.sub(r"(<svg[^>]*>)", rf"\1<style>{style}</style>", svg, count=1)


if __name__ == "__main__":
    main()
