"""Memory and time of Shar folders against the number of recordings in them.

python eval/shar_memory.py COUNT FOLDER [PACKED]

Writes a manifest of COUNT recordings of 0.1 s (the same few files), packs it with
``asr-llm corpus shar``, and draws one epoch of batches without their audio, then a hundred batches
from all over the epoch with it. Each part runs in a process of its own, whose peak is printed as
JSON. Of more than PACKED recordings (default: 100,000) the first are packed, and the shards linked
under as many names as it takes: to a reader these are other shards.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILES = 50
PACKED = 100_000  # in shards of 1,000


def main() -> None:
    """Measure each part."""
    count, folder = int(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    manifest, shar = folder / "manifest.jsonl", folder / "shar"
    most = int(sys.argv[3]) if len(sys.argv) > 3 else PACKED
    write(manifest, packed := min(count, most))
    report(packed, pack, manifest, shar)
    link(shar, count // 1000)
    report(count, epoch, shar)
    report(count, batches, shar)


def report(count: int, part: Callable[..., Any], *arguments: Any) -> None:
    """Print what a part takes."""
    found = {"recordings": count, "part": part.__name__} | apart(part, *arguments)
    print(json.dumps(found), flush=True)


def link(shar: Path, shards: int) -> None:
    """Give a folder as many shards, by linking those that it has."""
    index = shar / "cuts.index.json"
    own = len(json.loads(index.read_text("utf-8"))["cuts"])
    for number in range(own, shards):
        for name in ("cuts.{:06d}.jsonl.gz", "recording.{:06d}.tar"):
            (shar / name.format(number)).hardlink_to(shar / name.format(number % own))
    index.write_text(json.dumps({"cuts": [1000] * shards}), "utf-8")


def write(manifest: Path, count: int) -> None:
    """The manifest, and its audio."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    for i in range(FILES):
        soundfile.write(manifest.with_name(f"{i}.wav"), 0.1 * rng.standard_normal(1600), 16000)
    with manifest.open("w", encoding="utf-8") as file:
        for n in range(count):
            row = {
                "audio_filepath": f"{n % FILES}.wav",
                "duration": 0.1,
                "text": f"The court heard case number {n} today.",
            }
            file.write(json.dumps(row) + "\n")


def apart(part: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Run a part in a new process: seconds, and MiB at its peak and before it began."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=measured, args=(theirs, part, *arguments))
    process.start()
    found: dict[str, Any] = ours.recv()
    process.join()
    return found


def measured(pipe: Any, part: Callable[..., Any], *arguments: Any) -> None:
    """Measure a part in this process."""
    import lhotse  # noqa: F401
    import torch  # noqa: F401

    before, began = peak(), time.perf_counter()
    part(*arguments)
    seconds = time.perf_counter() - began
    pipe.send({"seconds": round(seconds, 1), "before_mib": before, "peak_mib": peak()})


def peak() -> int:
    """MiB at the peak of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def pack(manifest: Path, shar: Path) -> None:
    """``asr-llm corpus shar``."""
    from asr_llm.jobs import shar as job

    job.pack(manifest, shar)


def epoch(shar: Path) -> None:
    """All batches of an epoch, as they are drawn, without their audio."""
    Drawn(shar).all()


def batches(shar: Path) -> None:
    """A hundred batches, from all over the epoch, with their audio."""
    Drawn(shar).some(100)


class Drawn:
    """The stream that training draws from a Shar folder."""

    def __init__(self, shar: Path) -> None:
        from asr_llm.sequences.batching import BatchStream
        from asr_llm.sequences.sources import AsrSource, Folders
        from asr_llm.sequences.tasks import Chat

        source = AsrSource(data=str(shar), augment=0.0, first_pass=0.0)
        chat = Chat("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>")
        examples = source.examples(chat, Folders())
        assert examples is not None
        self.count = examples.count
        self.stream = BatchStream([examples], list, 1, 2000, 10**6)  # type: ignore[arg-type]
        self.pools = self.count // self.stream.draws

    def all(self) -> None:
        """Every pool of the first epoch."""
        for number in range(self.pools):
            self.stream._draw_pool(number)

    def some(self, count: int) -> None:
        """Batches at even distances."""
        step = max(1, self.pools * self.stream.pool // count)
        for number in range(count):
            assert self.stream[number * step]


if __name__ == "__main__":
    main()
