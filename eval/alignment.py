"""How far `asr-llm align` is from the truth that the synthesiser tells.

    python eval/alignment.py                      # mini, domains/general, held-out voices
    python eval/alignment.py --model talk.nemo --domain domains/medical

Prints the error of word beginnings in milliseconds: median, 95th percentile, and the signed
median, by which a model's peaks come late.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from asr_llm.aligning import align_manifest
from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain import Domain
from asr_llm.corpus.importers import read_manifest
from asr_llm.corpus.spoken import spoken_set


def main() -> None:
    """Align, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--domain", type=Path, default=Path("domains/general"))
    parser.add_argument("--backend", default="auto", choices=("auto", "viterbi", "k2"))
    arguments = parser.parse_args()
    silence_libraries()

    truth = spoken_set(Domain.load(arguments.domain), "test")
    starts = {cut.id: beginnings(cut) for cut in truth}
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "cuts.jsonl"
        truth.to_file(manifest)
        done = align_manifest(
            manifest,
            Path(folder) / "aligned.jsonl",
            model=arguments.model,
            backend=arguments.backend,
            min_confidence=0.0,
        )
        found = {cut.id: beginnings(cut) for cut in read_manifest(done.path)}
    errors = [
        1000 * (ours - true)
        for cut, times in found.items()
        for ours, true in zip(times, starts[cut], strict=True)
    ]
    sizes = sorted(map(abs, errors))
    print(f"{len(errors)} words in {done.aligned} recordings, {len(done.dropped)} dropped")
    print(
        f"median {statistics.median(sizes):.0f} ms, 95th percentile "
        f"{sizes[int(0.95 * len(sizes))]:.0f} ms, signed median {statistics.median(errors):+.0f} ms"
    )


def beginnings(cut: object) -> list[float]:
    """When each word of a cut begins, in seconds."""
    return [item.start for item in cut.supervisions[0].alignment["word"]]  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
