"""Peak memory and seconds with a checkpoint of Canary-Qwen's layout and random weights.

    python eval/real_size.py [--small] [--home FOLDER] [--place FOLDER] [STEP...]

writes `nvidia/canary-qwen-2.5b` as `tests/canary.py` does (5.1 GB; `--small`: a twentieth) and runs
each step in a process of its own, on two sentences. It prints a Markdown table: seconds, and peak
memory, of which the first row is the libraries' own. Before `resume` a run of three steps is killed
at its first checkpoint; `nemo` is NeMo's own SALM, which loads what `merge` wrote.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile

ROOT = Path(__file__).resolve().parent.parent
MODEL = "nvidia/canary-qwen-2.5b"
STEPS = ("import", "load", "transcribe", "text", "speech", "resume", "merge", "nemo", "llm")
IMPORT = "import asr_llm.model.salm, asr_llm.training.train"
NEMO = "from nemo.collections.speechlm2.models import SALM; SALM.from_pretrained('merged')"
LOAD = f"{IMPORT}; from asr_llm.model import checkpoints; checkpoints.load({MODEL!r})"
RECIPE = """\
model: {model}
train: {train}
fusion: {fusion}
sources: [{{task: {task}, data: domain}}]
steps: {steps}
checkpoint_every: 1
batch_positions: 200
"""


def main() -> None:
    """Write the checkpoint where there is none, run the steps, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", metavar="STEP", default=STEPS, help=", ".join(STEPS))
    parser.add_argument("--small", action="store_true", help="a twentieth of the parameters")
    parser.add_argument("--home", type=Path, help="a folder to keep, with 5 GB of room")
    parser.add_argument("--place", type=Path, help="a folder for runs, to go on with later steps")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.place or Path(temporary)
        home = arguments.home or Path(temporary)
        if not (home / "hub").is_dir():
            size = ["--small"] if arguments.small else []
            seconds, peak = measured(
                [ROOT / "tests" / "canary.py", home, *size], home, Path(temporary)
            )
            print(f"written in {seconds:.0f} s, peak {peak / 2**30:.1f} GiB")
        domain(place)
        print("\n| step | seconds | peak, GiB |\n|---|---|---|", flush=True)
        for step in arguments.steps:
            if step == "resume":
                killed(command("long"), home, place)
            seconds, peak = measured(command(step), home, place)
            print(f"| {step} | {seconds:.0f} | {peak / 2**30:.1f} |", flush=True)
            for written in {"nemo": ["merged"], "llm": ["llm"]}.get(step, []):
                shutil.rmtree(place / written)


def domain(place: Path) -> None:
    """A domain of a few sentences and two recordings, and three recipes."""
    from asr_llm.corpus.speech.synthesis import synthesize

    said = ["The kettle is on the table.", "We sell tea and cake in the afternoon."]
    (place / "shop" / "train").mkdir(parents=True, exist_ok=True)
    (place / "shop" / "domain.yaml").write_text("name: shop\n", "utf-8")
    (place / "shop" / "text.txt").write_text("".join(f"{text}\n" for text in said), "utf-8")
    rows = []
    for i, text in enumerate(said):
        path = place / "shop" / "train" / f"{i}.wav"
        soundfile.write(path, synthesize(text, "en-us").samples, 16000)
        rows.append(f"{path.name}\t{text}\n")
    (place / "shop" / "train" / "trans.txt").write_text("".join(rows), "utf-8")
    for name, train, fusion, task, steps in (
        ("text", "[lora]", 0.3, "text", 2),
        ("speech", "[lora, projector]", "null", "asr", 2),
        ("long", "[lora, projector]", "null", "asr", 3),
    ):
        recipe = RECIPE.format(model=MODEL, train=train, fusion=fusion, task=task, steps=steps)
        (place / f"{name}.yaml").write_text(recipe, "utf-8")


def command(step: str) -> list[str | Path]:
    """What a step runs; later ones need what ``speech`` and ``merge`` wrote."""
    cli: list[str | Path] = ["-m", "asr_llm.cli"]
    merged: list[str | Path] = ["--model", MODEL, "--adapter", "runs/speech/adapter", "--merge"]
    long: list[str | Path] = [*cli, "adapt", "shop", "--recipe", "long.yaml", "-o", "runs/long"]
    return {
        "import": ["-c", IMPORT],
        "load": ["-c", LOAD],
        "transcribe": [*cli, "transcribe", "shop/train/1.wav", "--model", MODEL],
        "text": [*cli, "adapt", "shop", "--recipe", "text.yaml", "-o", "runs/text"],
        "speech": [*cli, "adapt", "shop", "--recipe", "speech.yaml", "-o", "runs/speech"],
        "long": long,
        "resume": [*long, "--resume"],
        "merge": [*cli, "export", *merged, "-o", "merged"],
        "nemo": ["-c", NEMO],
        "llm": [*cli, "export", *merged, "--llm-only", "-o", "llm"],
    }[step]


def killed(arguments: list[str | Path], home: Path, place: Path) -> None:
    """Start a training, and kill it when it has written its first checkpoint."""
    process = _started(arguments, home, place)
    while process.poll() is None and not any((place / "runs/long/checkpoints").glob("*.ckpt")):
        time.sleep(0.1)
    process.kill()
    process.communicate()


def measured(arguments: list[str | Path], home: Path, place: Path) -> tuple[float, int]:
    """Seconds and peak bytes of a Python process and its children."""
    start = time.perf_counter()
    process = _started(arguments, home, place)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{arguments} ended with {status}:\n{said}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def _started(arguments: list[str | Path], home: Path, place: Path) -> subprocess.Popen[str]:
    environment = os.environ | {
        "HF_HOME": str(home.resolve()),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=environment, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
