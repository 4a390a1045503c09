"""How one system differs from another: ``comparisons`` of `scores.json`."""

from __future__ import annotations

from typing import Any

from asr_llm.evaluation.blocks import Bootstrap
from asr_llm.evaluation.figures import counted, missed, safety_counted, term_counted
from asr_llm.evaluation.measured import Measured
from asr_llm.evaluation.significance import mcnemar


def compare(base: Measured, other: Measured, drawn: Bootstrap) -> dict[str, Any]:
    """The other minus the base: each headline figure, and McNemar's test on the mentions."""
    both = (base, other)
    comparison: dict[str, Any] = {}
    if base.entities:
        comparison["eer"] = drawn.difference([missed(m, "raw") for m in both])
        comparison["eer_normalized"] = drawn.difference([missed(m, "normalized") for m in both])
        found = [[r.found for rs in m.entities["raw"].values() for r in rs] for m in both]
        comparison["mcnemar"] = mcnemar(base=found[0], adapted=found[1])
        comparison["term_wer"] = drawn.difference([term_counted(m, "normalized") for m in both])
    if base.safety:
        comparison["safety"] = drawn.difference([safety_counted(m) for m in both])
    comparison["wer"] = drawn.difference([counted(m.words["normalized"]) for m in both])
    for side in base.biasing:
        comparison[side] = drawn.difference([counted(m.biasing[side]) for m in both])
    return comparison
