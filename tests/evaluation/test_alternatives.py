"""sclite's alternatives: the nearest are taken, for each system its own."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_llm.evaluation.alternatives import first, nearest, parse
from asr_llm.evaluation.words import Costs, align
from asr_llm.jobs.score import Options, score_files


@pytest.mark.parametrize(
    ("written", "hypothesis", "chosen"),
    [
        ("a { grey / gray } dog", "a gray dog", "a gray dog"),
        ("a { grey / gray } dog", "a dog", "a grey dog"),
        ("{ um / @ } yes", "yes", "yes"),
        ("{ um / @ } yes", "um yes", "um yes"),
        ("{ @ / um } yes", "uh yes", "yes"),
        ("he { is not / isn't } in", "he isn't in", "he isn't in"),
        ("{ a { b / c } / d } e", "a c e", "a c e"),
        ("{ a { b / c } / d } e", "d e", "d e"),
        ("{ one / 1 } { two / 2 } { three / 3 }", "1 two 3", "1 two 3"),
        ("no } choice / here", "no", "no } choice / here"),
        ("{ a / b }", "", "a"),
        ("{ a b / @ }", "", ""),
    ],
)
@pytest.mark.parametrize("costs", ["unit", "sclite"])
def test_the_nearest_is_chosen(written: str, hypothesis: str, chosen: str, costs: Costs) -> None:
    assert nearest(parse(written), hypothesis, "none", costs) == chosen


@pytest.mark.parametrize("glued", ["{uh / @ } yes", "{ uh / @} yes", "yes}"])
def test_a_brace_without_spaces_is_no_word(glued: str) -> None:
    with pytest.raises(ValueError, match="a brace without spaces around it"):
        parse(glued)


def test_first_alternative_and_unclosed_braces() -> None:
    assert first(parse("{ a { b / c } / d } e { @ / f }")) == "a b e"
    with pytest.raises(ValueError, match="not closed"):
        parse("{ a / b")


def test_they_are_compared_as_normalised() -> None:
    assert nearest(parse("give { Five / six } mg"), "Give 5 milligrams", "medical-en") == (
        "give Five mg"
    )


CHOICES = st.lists(
    st.lists(st.lists(st.sampled_from("abc"), max_size=2), min_size=1, max_size=3),
    min_size=1,
    max_size=4,
)


def cost(reference: list[str], hypothesis: list[str], costs: Costs) -> int:
    ops = [p.op for p in align(reference_words=reference, hypothesis_words=hypothesis, costs=costs)]
    lone, pair = (1, 1) if costs == "unit" else (3, 4)
    pairs = ops.count("substitution")
    return lone * (ops.count("insertion") + ops.count("deletion")) + pair * pairs


@settings(deadline=None, max_examples=100)
@given(CHOICES, st.lists(st.sampled_from("abc"), max_size=6), st.sampled_from(["unit", "sclite"]))
def test_no_other_choice_is_cheaper(
    choices: list[list[list[str]]], hypothesis: list[str], costs: Costs
) -> None:
    written = " x ".join(
        "{ " + " / ".join(" ".join(words) or "@" for words in choice) + " }" for choice in choices
    )
    chosen = nearest(parse(written), " ".join(hypothesis), "none", costs).split()
    texts = []
    for one in product(*choices):
        joined: list[str] = []
        for i, words in enumerate(one):
            joined += [*(["x"] if i else []), *words]
        texts.append(joined)
    assert chosen in texts
    assert cost(chosen, hypothesis, costs) == min(cost(t, hypothesis, costs) for t in texts)


def test_each_system_is_scored_against_its_own_nearest(tmp_path: Path) -> None:
    """Raw, costs as in sclite: "grey" 0 of 3 words, "gray coat" 0 of 3, nothing heard 2 of 2."""
    reference = tmp_path / "ref.trn"
    reference.write_text("{ the / @ } { grey / gray } coat (s-1)\n", "utf-8")
    systems = {}
    for name, text in (("one", "the grey coat"), ("two", "gray coat"), ("three", "")):
        (tmp_path / f"{name}.trn").write_text(f"{text} (s-1)\n", "utf-8")
        systems[name] = tmp_path / f"{name}.trn"
    for costs in ("unit", "sclite"):
        scores = score_files(reference, systems, Options(costs=costs)).scores
        wer = {name: found["wer"]["raw"] for name, found in scores["systems"].items()}
        assert [(w["errors"], w["words"]) for w in wer.values()] == [(0, 3), (0, 2), (2, 2)]


def test_an_stm_has_them_too(tmp_path: Path) -> None:
    (tmp_path / "r.stm").write_text("rec A sp 0 2 <o> he { isn't / is not } in\n", "utf-8")
    (tmp_path / "h.ctm").write_text(
        "".join(f"rec A 0.{i} 0.1 {w}\n" for i, w in enumerate(["he", "is", "not", "in"])), "utf-8"
    )
    scores = score_files(tmp_path / "r.stm", {"h": tmp_path / "h.ctm"}).scores
    assert scores["systems"]["h"]["wer"]["raw"]["errors"] == 0


def test_a_brace_that_is_not_closed_is_named(tmp_path: Path) -> None:
    from asr_llm.errors import ScoreError

    (tmp_path / "r.trn").write_text("a { b / c (s-1)\n", "utf-8")
    with pytest.raises(ScoreError, match=r"r\.trn:1: found a '\{' that is not closed"):
        score_files(tmp_path / "r.trn", {"h": tmp_path / "r.trn"})
