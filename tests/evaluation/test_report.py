"""The report: what is in it, what is left out when asked, and that it works in a browser."""

from __future__ import annotations

import base64
import html.parser
import io
import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_llm.evaluation.entities import EntityFinder
from asr_llm.evaluation.equivalences import Equivalences, Rule
from asr_llm.evaluation.report import Shown, render
from asr_llm.evaluation.scores import Blocks, Scored, score

REFERENCES = {
    "u1": "He takes Lipitor.",
    "u2": "She takes aspirin & </script><b>tea</b>.",
    "u3": "No more  aspirin for today.",
}
BASE = {"u1": "he takes lip itor", "u2": "She takes aspirin tea", "u3": "No more sprint for"}
ADAPTED = {
    "u1": "He takes Lipitor.",
    "u2": "She takes aspirin tea",
    "u3": "No more aspirin for today",
}
FINDER = EntityFinder([{"label": "DRUG", "pattern": p} for p in ("Lipitor", "aspirin")])
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def scored() -> Scored:
    general = ({"g": "It rained."}, {"g": "It rained."})
    return score(
        references=REFERENCES,
        systems={"base": BASE, "adapted": ADAPTED},
        finder=FINDER,
        general={"base": general, "adapted": general},
        blocks=Blocks({"u1": "ann", "u2": "bob", "u3": "eve"}),
    )


def clip() -> str:
    samples = np.sin(np.arange(8000) / 10).astype(np.float32) / 4
    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format="OGG", subtype="OPUS")
    return "data:audio/ogg;base64," + base64.b64encode(file.getvalue()).decode()


SHOWN = Shown(
    title="clinic: mini, adapted",
    references=REFERENCES,
    systems={"base": BASE, "adapted": ADAPTED},
    speakers={"u1": "ann", "u2": "bob", "u3": "eve"},
    clips={"u1": clip()},
    about={"model": "mini"},
    recipe="name: text\n",
)


class Tags(html.parser.HTMLParser):
    """Opened tags in order, checked to be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_headline_is_that_of_the_scores() -> None:
    page = render(scored(), SHOWN)
    assert "100.0%" not in page.split("<h2>Words wrong in general")[0].split("cards")[0]
    # 2 of 3 mentions missed, then none; 95% intervals stand beside.
    assert re.search(r"66\.7%\s*→\s*0\.0%", page)
    assert "base: 2 of 3 mentions" in page
    assert "-66.7 points, 95% interval" in page
    assert "3 speakers: intervals drawn from fewer than 6" in page
    assert "<summary>What was done to get here</summary><pre>name: text" in page
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.seen.count("svg") == 1 and tags.seen.count("article") == 3


def test_nothing_is_fetched_and_no_text_is_markup() -> None:
    page = render(scored(), SHOWN)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert "<b>tea</b>" not in page
    assert page.count("</script>") == 2


def test_terms_with_what_was_heard() -> None:
    page = render(scored(), SHOWN)
    improved, missed = page.split("Most improved")[1].split("How to read")[0], "Still missed"
    assert "lip itor" in improved and "sprint" in improved
    assert missed not in page  # none is


def test_what_was_lost_is_not_called_still_missed() -> None:
    """One term gained, one lost, one missed by both, each with what was heard."""
    references = {"u": "Lipitor aspirin", "v": "Lipitor", "w": "tramadol"}
    finder = EntityFinder(
        [{"label": "DRUG", "pattern": p} for p in ("Lipitor", "aspirin", "tramadol")]
    )
    systems = {
        "base": {"u": "lip aspirin", "v": "lip", "w": "trauma"},
        "adapted": {"u": "Lipitor asp", "v": "Lipitor", "w": "trolley"},
    }
    page = render(
        score(references=references, systems=systems, finder=finder),
        Shown("x", references, systems),
    )
    gained, rest = page.split("Most improved")[1].split("<h2>Lost")
    lost, missed = rest.split("Still missed")
    missed = missed.split("Every utterance")[0]
    assert "Lipitor" in gained and "0 → 2 of 2" in gained and "lip</td>" in gained
    assert "aspirin" in lost and "1 → 0 of 1" in lost and "asp</td>" in lost
    assert "tramadol" in missed and "trolley" in missed and "Lipitor" not in missed
    assert "Only base found 1, only adapted 2" in page


def test_both_counts_of_words_are_explained() -> None:
    references = {"u": "a long-term plan"}
    page = render(
        score(references=references, systems={"x": references}),
        Shown("x", references, {"x": {**references}}),
    )
    assert "3 words as written (4 once normalised)" in page
    assert "turns 3 written words into 4" in page
    same = {"u": "a plan"}
    page = render(score(references=same, systems={"x": same}), Shown("x", same, {"x": {**same}}))
    assert "once normalised" not in page


def test_a_change_is_coloured_only_if_its_interval_leaves_out_zero() -> None:
    page = render(scored(), SHOWN)  # a speaker has 0 or 1 gain of 1: the interval holds zero
    assert re.search(r'class="better">-66.7 points', page) is None
    assert re.search(r'class="">\+0\.0 points', page)


def test_all_of_several_systems_are_compared() -> None:
    systems = {"base": BASE, "adapted": ADAPTED, "third": BASE}
    page = render(
        score(references=REFERENCES, systems=systems, finder=FINDER),
        Shown("x", REFERENCES, systems),
    )
    assert re.search(r'<th scope="row">third</th><td class="n">66\.7 \(', page)
    assert "Below are base and adapted" in page
    assert "All systems" not in render(scored(), SHOWN)


def test_fifty_systems_are_one_table_and_a_pair_of_them_is_shown() -> None:
    systems = {f"system-{i}": BASE for i in range(48)} | {"base": BASE, "adapted": ADAPTED}
    made = score(
        references=REFERENCES,
        systems=systems,
        finder=FINDER,
        headline="normalized",
        against="adapted",
        safety=True,
    )
    page = render(made, Shown("x", REFERENCES, systems, pair=("adapted", "system-7")))
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert page.count('<th scope="row">system-') == 48 + 1  # once more with its safety words
    assert re.search(r"0\.0%\s*→\s*66\.7%", page) and "(EER, normalised)" in page
    assert "All systems" in page and "Below are adapted and system-7" in page
    assert len(page) < 60_000
    by_default = render(made, Shown("x", REFERENCES, systems))
    assert (
        "Below are adapted and system-0" in by_default
    )  # the best of the others, the first of them


def test_safety_words_and_variants_stand_in_it() -> None:
    references = {"u": "No pain. Take Tylenol & rest."}
    systems = {"x": {"u": "Pain. Take paracetamol and rest."}}
    rules = (Rule(("tylenol",), ("paracetamol",)),)
    made = score(
        references=references,
        systems=systems,
        safety=True,
        equivalences=Equivalences("basic", rules),
    )
    page = render(made, Shown("x", references, systems))
    assert "<td>no pain take</td>" in page and "negation turned" in page
    assert page.index("Safety words") < page.index("Every utterance")
    assert "Word errors without them: x 3, with them 2." in page
    assert "<td>tylenol = paracetamol</td>" in page
    hidden = render(made, Shown("x", references, systems, text=False))
    assert "pain" not in hidden and "tylenol" not in hidden and "Safety words" in hidden


def test_without_text_there_is_none() -> None:
    page = render(scored(), replace(SHOWN, text=False))
    for word in ("Lipitor", "lipitor", "takes", "aspirin", "itor", "audio/ogg"):
        assert word not in page
    assert "66.7%" in page and "DRUG" in page


def test_one_system_without_entities() -> None:
    alone = score(references=REFERENCES, systems={"only": BASE})
    page = render(alone, Shown("x", REFERENCES, {"only": BASE}))
    assert "Terms not recognised</h2>" not in page
    assert 'id="changed"' not in page


def test_ten_thousand_utterances_are_quick() -> None:
    references = {f"u{i}": f"word {i} of many more words here" for i in range(10_000)}
    alone = score(references=references, systems={"only": references})
    began = time.monotonic()
    page = render(alone, Shown("x", references, {"only": references}))
    assert time.monotonic() - began < 20
    assert len(page) < 10_000_000


# In a browser ----------------------------------------------------------------------------

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt install chromium")


def browse(tmp_path: Path, script: str, fragment: str = "") -> str:
    """The page's markup after a script has run in it."""
    page = render(scored(), SHOWN).replace("</body>", f"<script>{script}</script></body>")
    path = tmp_path / "report.html"
    path.write_text(page, "utf-8")
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000",
            "--autoplay-policy=no-user-gesture-required", f"--user-data-dir={tmp_path}/profile",
            "--dump-dom", f"{path.as_uri()}{fragment}",
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def listed(page: str) -> list[str]:
    return re.findall(r'class="utterance" data-id="(\w+)"', page)


@needs_chromium
def test_utterances_are_sorted_filtered_and_searched(tmp_path: Path) -> None:
    assert listed(browse(tmp_path, "")) == ["u1", "u2", "u3"]
    page = browse(tmp_path, "", "#sort=change&changed=1")
    assert listed(page) == ["u1", "u3"]
    assert "2 of 3 utterances" in page
    typed = (
        "const q = document.getElementById('query'); q.value = 'ASPIRIN today';"
        "q.dispatchEvent(new Event('input')); document.title = location.hash;"
    )
    page = browse(tmp_path, typed)
    assert listed(page) == ["u3"]
    assert "<title>#q=ASPIRIN+today</title>" in page


@needs_chromium
def test_terms_and_errors_are_marked(tmp_path: Path) -> None:
    page = browse(tmp_path, "")
    assert "<mark>Lipitor<small>DRUG</small></mark>" in page
    assert "&lt;/script&gt;&lt;b&gt;tea&lt;/b&gt;." in page
    assert '<del class="d">today.</del>' in page


@needs_chromium
def test_a_clip_is_played(tmp_path: Path) -> None:
    play = (
        "const a = document.querySelector('audio'); a.muted = true;"
        "a.play().then(() => document.body.dataset.played = a.duration > 0.4)"
        ".catch(e => document.body.dataset.played = e);"
    )
    assert 'data-played="true"' in browse(tmp_path, play)
