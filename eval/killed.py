"""Kills a command at random moments: is anything lost, done twice or left half done?

    python eval/killed.py transcribe|adapt|get [--times 50] [--seed 0]

The command first runs undisturbed. Then, repeatedly, it starts in an empty folder and is killed
(SIGKILL, with its child processes) up to three times, each at a random moment of the time that it
took, and runs to its end. Its exit status and files must be those of the undisturbed run, without
leftovers; and what was finished is not written again. Files in which two undisturbed runs
differ are compared by name alone, and named. Processes are forks of one that has imported what is
slow to import, so that the kills hit the work. ``get`` takes packages as pip finds them:
PIP_FIND_LINKS=FOLDER PIP_NO_INDEX=1 spares the network.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from asr_llm.cli import main as command
from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import create
from asr_llm.corpus.speech.synthesis import select_voices, synthesize

_SAID = (
    "The boiler was serviced on Thursday and the valve has been replaced.",
    "Could you send me the invoice for the second visit?",
    "The guarantee ends in the autumn of next year.",
)
_COMMANDS = {
    "transcribe": "transcribe ../calls --model mini -f txt,json,srt -o out",
    "adapt": "adapt ../shop --model mini --steps 4 -o out --resume",
    "get": "model get small",
}
_FINISHED = {"adapt": ("out/adapter/*", "out/hypotheses/*"), "get": ("cache/models/small/*",)}
_LEFTOVERS = (".part", ".old", ".journal")


def main() -> int:
    """Print the findings; exit status 1 on any failure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=_COMMANDS)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    silence_libraries()
    import asr_llm.training.train
    import asr_llm.transcription.speech_llm  # noqa: F401  (for the forks)

    dice = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _inputs(place)
        began = time.monotonic()
        status = _run(place / "one", asked.command)
        whole = time.monotonic() - began
        peace = _contents(place / "one")
        _run(place / "two", asked.command)
        varying = {
            name for name, data in _contents(place / "two").items() if data != peace.get(name)
        }
        print(
            f"undisturbed: {whole:.0f} s, exit status {status}, {len(peace)} files; "
            f"differing: {sorted(varying)}",
            flush=True,
        )
        kills = faults = 0
        for number in range(asked.times):
            war = place / "war"
            shutil.rmtree(war, ignore_errors=True)
            for _ in range(dice.randint(1, 3)):
                kills += _run(war, asked.command, dice.uniform(0, whole)) == -signal.SIGKILL
            before = _finished(war, asked.command, peace)
            found = _run(war, asked.command), _contents(war)
            again = [name for name, date in before.items() if _date(war / name) != date]
            if wrong := _differing(found[1], peace, varying) or again or found[0] != status:
                faults += 1
                print(f"{number}: {wrong}, exit status {found[0]}", file=sys.stderr)
    print(f"{asked.times} runs, {kills} kills, {faults} faults")
    return int(faults > 0)


def _inputs(place: Path) -> None:
    import soundfile

    create(place / "shop")
    (place / "calls").mkdir()
    for i, (said, voice) in enumerate(zip(_SAID, select_voices(["en-us"]) * len(_SAID))):
        speech = synthesize(said, voice)
        soundfile.write(place / "calls" / f"call{i}.wav", speech.samples, 16_000)
    broken = place / "calls" / "call1.wav"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size * 3 // 4])


def _run(place: Path, name: str, kill_after: float | None = None) -> int:
    """Run a command in a fork; its exit status, or minus the signal that ended it."""
    (place / "tmp").mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if not child:
        os.setsid()
        os.chdir(place)
        os.environ |= {"ASR_LLM_CACHE": str(place / "cache"), "TMPDIR": str(place / "tmp")}
        tempfile.tempdir = None
        output = os.open(os.devnull, os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["asr-llm", *_COMMANDS[name].split()]
        status: object = 0
        try:
            command()
        except SystemExit as end:
            status = end.code
        finally:
            os._exit(status if isinstance(status, int) else 1)
    if kill_after is not None:
        time.sleep(kill_after)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _contents(place: Path) -> dict[str, bytes]:
    """All files by path, without the clips of a report: each Ogg stream has a random number."""
    files = (path for path in place.rglob("*") if path.is_file())
    contents = {str(path.relative_to(place)): path.read_bytes() for path in files}
    return {name: re.sub(rb"base64,[\w+/=]*", b"", data) for name, data in contents.items()}


def _differing(found: dict[str, bytes], peace: dict[str, bytes], varying: set[str]) -> list[str]:
    """Files that are missing, superfluous, leftovers or different."""
    own = found.keys() ^ peace.keys()
    left = {name for name in found if any(end in name for end in _LEFTOVERS)}
    other = {name for name in found.keys() & peace.keys() if found[name] != peace[name]}
    return sorted(own | left | other - varying)


def _finished(place: Path, name: str, peace: dict[str, bytes]) -> dict[str, int]:
    """What may not be written again: the date of each file."""
    if name == "transcribe":
        groups = [[f"out/call{i}.{end}" for end in ("txt", "json", "srt")] for i in range(3)]
    else:
        patterns = _FINISHED[name]
        groups = [[str(p.relative_to(place))] for one in patterns for p in place.glob(one)]
    groups = [g for g in groups if all((place / f).is_file() and f in peace for f in g)]
    return {file: _date(place / file) for group in groups for file in group}


def _date(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


if __name__ == "__main__":
    sys.exit(main())
