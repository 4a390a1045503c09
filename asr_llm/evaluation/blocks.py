"""The blocks that the bootstrap resamples, and the intervals it gives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from asr_llm.errors import ScoreError
from asr_llm.evaluation.figures import Counts
from asr_llm.evaluation.significance import paired_bootstrap, rate_interval

RESAMPLES = 1000
FEW_BLOCKS = 6
"""With fewer blocks than this, there are no p-values and no ranks."""


@dataclass(frozen=True)
class Blocks:
    """The unit of resampling: the block of each utterance, and what a block is."""

    of: Mapping[str, str]
    kind: str = "speaker"

    @classmethod
    def known(cls, of: Mapping[str, Mapping[str, str | None]]) -> Blocks | None:
        """The first kind whose block is known for every utterance; None if there is none."""
        for kind, blocks in of.items():
            named = {i: block for i, block in blocks.items() if block}
            if named and len(named) == len(blocks):
                return cls(named, kind)
        return None


class Bootstrap:
    """Utterances grouped by block, and bootstrap draws of the blocks.

    Args:
        ids: ids of the scored utterances.
        blocks: default: every utterance is its own block.

    Raises:
        ScoreError: an utterance is in no block.
    """

    def __init__(self, ids: Iterable[str], blocks: Blocks | None, seed: int) -> None:
        self.seed = seed
        self.of = blocks.kind if blocks else "utterance"
        grouped = defaultdict(list)
        for i in sorted(ids):  # independent of the input's order
            if blocks is not None and i not in blocks.of:
                raise ScoreError(
                    f"utterance {i!r} is in no block; name the block of every utterance"
                )
            grouped[i if blocks is None else blocks.of[i]].append(i)
        self.grouped = dict(sorted(grouped.items()))

    @property
    def few(self) -> bool:
        """Whether there are too few blocks for p-values and ranks."""
        return len(self.grouped) < FEW_BLOCKS

    def interval(self, counts: Counts) -> dict[str, float | None]:
        """Return the 95% interval of a pooled rate: ``low`` and ``high``."""
        errors, sizes = self._sums(counts)
        low, high = rate_interval(errors=errors, sizes=sizes, resamples=RESAMPLES, seed=self.seed)
        return {"low": low, "high": high}

    def difference(self, pair: Sequence[Counts]) -> dict[str, Any]:
        """Return the second system's pooled rate minus the first's, as a
        ``significance.Difference``.
        """
        (errors, sizes), (others, _) = (self._sums(counts) for counts in pair)
        drawn = paired_bootstrap(
            base=errors, adapted=others, sizes=sizes, resamples=RESAMPLES, seed=self.seed
        )
        # With few blocks a p-value would be misleading.
        return asdict(drawn) | ({"p": None} if self.few else {})

    def _sums(self, counts: Counts) -> tuple[list[float], list[float]]:
        errors = [sum(counts[i][0] for i in ids) for ids in self.grouped.values()]
        return errors, [sum(counts[i][1] for i in ids) for ids in self.grouped.values()]
