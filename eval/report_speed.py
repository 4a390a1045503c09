"""Speed of a report with ten thousand utterances in a browser (needs Chromium).

    python eval/report_speed.py [--utterances 10000]

Sentences of `domains/medical`, again and again, and two made-up systems that get words wrong.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from asr_llm.corpus.domain.folder import Domain
from asr_llm.evaluation.entities import EntityFinder
from asr_llm.evaluation.report import Shown, render
from asr_llm.evaluation.scores import Blocks, score

DOMAIN = Path(__file__).resolve().parents[1] / "domains" / "medical"
SCRIPT = """<script>
const told = ["to load " + Math.round(performance.now())];
function timed(what, act) {
  const began = performance.now();
  act();
  document.body.offsetHeight;  // laid out, too
  told.push(what + " " + Math.round(performance.now() - began));
}
const set = (id, key, value) => {
  document.getElementById(id)[key] = value;
  document.getElementById(id).dispatchEvent(new Event("input"));
};
timed("to search", () => set("query", "value", "fibrillation"));
timed("to search no more", () => set("query", "value", ""));
timed("to sort", () => set("sort", "value", "missed"));
timed("to filter", () => set("changed", "checked", true));
timed("to show 100 more", () => document.getElementById("more").click());
timed("to lay out for paper", () => dispatchEvent(new Event("beforeprint")));
document.title = told.join(", ");
</script></body>"""


def main() -> None:
    """Print milliseconds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--utterances", type=int, default=10_000)
    count = parser.parse_args().utterances
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        parser.error("no chromium is installed; expected one: apt install chromium")
    domain = Domain.load(DOMAIN)
    sentences = itertools.islice(itertools.cycle(domain.text()), count)
    references = {f"u{i}": sentence for i, sentence in enumerate(sentences)}
    systems = {"base": _heard(references, 0.2), "adapted": _heard(references, 0.08)}
    scored = score(
        references=references,
        systems=systems,
        finder=EntityFinder(domain.patterns()),
        blocks=Blocks({name: str(i % 8) for i, name in enumerate(references)}),
    )
    page = render(scored, Shown("speed", references, systems))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(page.replace("</body>", SCRIPT), "utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
        done = subprocess.run(
            [chromium, *flags, "--dump-dom", path.as_uri()],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    told = re.search("<title>(.*)</title>", done.stdout)
    print(f"{len(page) / 1e6:.1f} MB; milliseconds {told[1] if told else 'not found'}")


def _heard(references: dict[str, str], share: float) -> dict[str, str]:
    rng = random.Random(1)
    return {
        name: " ".join(w if rng.random() >= share else w[::-1] for w in text.split())
        for name, text in references.items()
    }


if __name__ == "__main__":
    main()
