"""Kills `transcribe -o` at random moments: is anything lost, repeated or incomplete?

    python eval/killed_transcribe.py [--kills 50] [--seed 0] [--model mini]

A folder of calls (two speakers, one truncated recording) is first transcribed without interruption.
Then, repeatedly, a process does the same and gets SIGKILL at a random moment; after each, the same
command runs to its end. Its files must equal the uninterrupted ones byte by byte, and finished
files must not be written again. Processes are forks of one that has imported everything.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from asr_llm.cli import silence_libraries
from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech.synthesis import select_voices, synthesize
from asr_llm.jobs.transcribe import Wanted, transcribe
from asr_llm.transcription.options import Recogniser, TranscribeOptions

_SAID = (
    "The boiler was serviced on Thursday and the valve has been replaced.",
    "Could you send me the invoice for the second visit?",
    "The guarantee ends in the autumn of next year.",
)


def main() -> int:
    """Print the findings; exit status 1 on any failure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="mini")
    arguments = parser.parse_args()
    silence_libraries()
    import asr_llm.transcription.speech_llm  # noqa: F401  (for the forks)

    dice = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _calls(place / "calls")
        began = time.monotonic()
        _run(place, "peace", arguments.model)
        whole = time.monotonic() - began
        peace = _contents(place / "peace")
        faults, killed = 0, 0
        for number in range(arguments.kills):
            shutil.rmtree(place / "war", ignore_errors=True)
            killed += _run(place, "war", arguments.model, dice.uniform(0, whole))
            before = _dates(place / "war")
            done = {name for name in before if _is_done(place / "war", name, peace)}
            _run(place, "war", arguments.model)
            again = [name for name in done if _dates(place / "war")[name] != before[name]]
            if _contents(place / "war") != peace or again:
                faults += 1
                print(f"kill {number}: other files, or written again: {again}", file=sys.stderr)
    print(f"{arguments.kills} runs, {killed} of them killed before their end; {faults} faults")
    return int(faults > 0)


def _calls(place: Path) -> None:
    place.mkdir()
    voices = select_voices(["en-us", "en-gb-scotland"])
    for i, said in enumerate(_SAID):
        one, other = (synthesize(text, v).samples for text, v in zip((said, _SAID[i - 1]), voices))
        length = len(one) + len(other)
        both = np.zeros((length, 2), np.float32)
        both[: len(one), 0], both[len(one) :, 1] = one, other
        soundfile.write(place / f"call{i}.wav", both, SAMPLE_RATE)
    broken = place / "call1.wav"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size * 3 // 4])


def _run(place: Path, output: str, model: str, kill_after: float | None = None) -> bool:
    """Transcribe in a fork; whether it was killed."""
    child = os.fork()
    if not child:
        wanted = Wanted(("txt", "json", "srt"), place / output, channels="separate")
        options = TranscribeOptions(num_beams=1, chunk_seconds=4.0)
        for _ in transcribe([place / "calls"], wanted, options, Recogniser(model)):
            pass
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if status and kill_after is None:
        sys.exit(f"a run in peace ended with {status}")
    return os.WIFSIGNALED(status)


def _contents(folder: Path) -> dict[str, bytes]:
    """All files; hidden ones by name only."""
    return {
        path.name: b"" if path.name.startswith(".") else path.read_bytes()
        for path in folder.iterdir()
    }


def _dates(folder: Path) -> dict[str, int]:
    if not folder.is_dir():
        return {}
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("[!.]*")}


def _is_done(folder: Path, name: str, peace: dict[str, bytes]) -> bool:
    """Whether all the outputs of an audio are there."""
    stem = name.partition(".")[0]
    outputs = [other for other in peace if other.startswith(f"{stem}.")]
    return all((folder / other).is_file() for other in outputs)


if __name__ == "__main__":
    sys.exit(main())
