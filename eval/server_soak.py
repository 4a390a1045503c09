"""The server with many clients at once: is an answer lost or mixed up, how long do they wait?

    python eval/server_soak.py [--requests 200] [--rounds 2] [--beam-size 4]

Starts ``asr-llm serve`` on a free port of this machine, and sends it so many requests at the same
time, each from a connection of its own and of another recording: the held-out sentences of
domains/medical and domains/general in their held-out voices. Every text is compared with what
``SpeechLLM.transcript`` writes for that recording alone. Memory is the server's resident set.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
from openai import AsyncOpenAI

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, cut_audio
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.transcription.speech_llm import SpeechLLM


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--beam-size", type=int, default=4)
    arguments = parser.parse_args()
    silence_libraries()

    with tempfile.TemporaryDirectory() as folder:
        paths = _recordings(Path(folder), arguments.requests)
        seconds = sum(soundfile.info(path).duration for path in paths)
        model = SpeechLLM.load(arguments.model, num_beams=arguments.beam_size)
        results = model.transcribe_many(paths)
        alone = [result.text for result in results]  # type: ignore[union-attr]
        del model, results
        process, url = _start(arguments, Path(folder) / "log.txt")
        try:
            asyncio.run(_ask_all(url, paths[:1], arguments.model))  # what it loads at first
            print(f"{len(paths)} recordings, {seconds:.0f} s; MiB at first {_mib(process.pid)}")
            print("| round | lost | mixed up | otherwise unlike | p50 | p95 | last | RTFx | MiB |")
            print("|---|---|---|---|---|---|---|---|---|")
            for number in range(1, arguments.rounds + 1):
                start = time.perf_counter()
                answers = asyncio.run(_ask_all(url, paths, arguments.model))
                taken = time.perf_counter() - start
                _report(number, answers, alone, seconds / taken, _mib(process.pid))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _recordings(folder: Path, count: int) -> list[Path]:
    domains = (Path("domains/medical"), Path("domains/general"))
    cuts = list(chain(*(spoken_set(Domain.load(domain), "test") for domain in domains)))[:count]
    if len(cuts) < count:
        sys.exit(f"there are {len(cuts)} recordings; expected at least --requests {count}")
    paths = [folder / f"{i}.wav" for i in range(count)]
    for path, cut in zip(paths, cuts):
        soundfile.write(path, cut_audio(cut), SAMPLE_RATE)
    return paths


def _start(arguments: argparse.Namespace, log: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "asr_llm.cli", "serve", "--port", "0"]
    command += ["--model", arguments.model, "--beam-size", str(arguments.beam_size)]
    command += ["--queue", str(arguments.requests), "--timeout", "3600"]
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file, text=True)
    while " at http" not in (said := log.read_text()):
        if process.poll() is not None:
            sys.exit(said)
        time.sleep(0.1)
    return process, said.split(" at ")[1].split(";")[0]


async def _ask_all(url: str, paths: list[Path], model: str) -> list[tuple[str | None, float]]:
    """Text, or None where there was no answer, and seconds, of all at once."""

    async def ask(path: Path) -> tuple[str | None, float]:
        start = time.perf_counter()
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=3600) as client:
            try:
                done = await client.audio.transcriptions.create(file=path, model=model)
                text: str | None = done.text
            except Exception as error:
                print(f"{path.name}: {error}", file=sys.stderr)
                text = None
        return text, time.perf_counter() - start

    return list(await asyncio.gather(*map(ask, paths)))


def _report(
    number: int, answers: list[tuple[str | None, float]], alone: list[str], rtfx: float, mib: str
) -> None:
    lost = sum(text is None for text, _ in answers)
    unlike = [text for (text, _), own in zip(answers, alone) if text is not None and text != own]
    mixed_up = sum(text in alone for text in unlike)
    waits = np.quantile([seconds for _, seconds in answers], [0.5, 0.95, 1.0])
    print(
        f"| {number} | {lost} | {mixed_up} | {len(unlike) - mixed_up} | "
        + " | ".join(f"{wait:.1f} s" for wait in waits)
        + f" | {rtfx:.1f} | {mib} |",
        flush=True,
    )


def _mib(pid: int) -> str:
    """Resident set of a process; Linux only."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return str(int(status.split("VmRSS:")[1].split()[0]) // 1024)


if __name__ == "__main__":
    main()
