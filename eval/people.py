"""Accuracy on real speech and held-out voices, compared with Whisper base in the same run.

    python eval/people.py --data ../shared/data --readers runs/small-data/speech/heldout.jsonl \\
        --whisper base -o runs/people [--sets readers coffee] [--limit 100]

Sets: `readers` (six held-out LibriSpeech readers), `silence` (the same, half a second of silence
before and after), `joined` (the same, clips of a reader joined to at most 25 s), `coffee` (orders
without transcripts: which of their slot values are in the text), and the test sets of
domains/general, medical and legal. Whisper is faster-whisper's (a development extra) in 8 bits;
both decode with the same beams. Transcripts are stored first and reused. `asr-llm score` prints
each table, normalised as Whisper's tables are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from orders import read_orders, slots_found
from recognisers import by_us, by_whisper, load_whisper, some_of

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, cut_audio
from asr_llm.corpus.recordings.importers import read_manifest
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.corpus.terms.biasing_list import make_list

DOMAINS = Path(__file__).resolve().parent.parent / "domains"
SETS = ("readers", "silence", "joined", "coffee", "general", "medical", "legal")
SILENCE, LONGEST = 0.5, 25.0  # seconds


@dataclass(frozen=True)
class Clip:
    """An utterance: its audio, what is said, and of an order the values of its slots."""

    id: str
    samples: np.ndarray
    text: str
    speaker: str
    slots: tuple[str, ...] = field(default=())


def main() -> None:
    """Decode what is missing, and print a table for each set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with speech/")
    parser.add_argument("--readers", type=Path, help="manifest of the held-out readers")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--model", default="small")
    parser.add_argument("--adapter", type=Path, help="adds a third system, 'adapted'")
    parser.add_argument("--biasing-list", type=Path, help="adds a system, 'listed'")
    parser.add_argument("--whisper", help="faster-whisper's model, a name or a folder")
    parser.add_argument("--beams", type=int, default=4)
    parser.add_argument("--limit", type=int, help="utterances of a set, spread over it")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    silence_libraries()
    for name in arguments.sets:
        clips = some_of(list(_clips(name, arguments)), arguments.limit)
        place = arguments.output / name
        place.mkdir(parents=True, exist_ok=True)
        _write(place / "reference.jsonl", ({**_row(c), "text": c.text} for c in clips))
        for system in _systems(arguments):
            _decode(system, clips, place / f"{system}.jsonl", arguments)
        print(f"\n## {name}: {len(clips)} clips, {_seconds(clips) / 60:.1f} minutes\n", flush=True)
        if name == "coffee":
            _slots(clips, place, Path(arguments.model).name)
        else:
            _score(name, place, arguments)


def _clips(name: str, arguments: argparse.Namespace) -> Iterator[Clip]:
    if name == "coffee":
        for order in read_orders(arguments.data):
            yield Clip(order.id, order.samples, "", "", order.slots)
        return
    if name in ("general", "medical", "legal"):
        cuts: Iterable[Any] = spoken_set(Domain.load(DOMAINS / name), "test")
    else:
        cuts = read_manifest(arguments.readers)
    clips = [
        Clip(cut.id, cut_audio(cut), cut.supervisions[0].text, cut.supervisions[0].speaker)
        for cut in cuts
    ]
    if name == "silence":
        pause = np.zeros(round(SILENCE * SAMPLE_RATE), np.float32)
        clips = [
            Clip(c.id, np.concatenate([pause, c.samples, pause]), c.text, c.speaker) for c in clips
        ]
    yield from _joined(clips) if name == "joined" else clips


def _joined(clips: list[Clip]) -> Iterator[Clip]:
    """Clips of one reader, in order, joined up to the maximum length."""
    for speaker, own in groupby(sorted(clips, key=lambda c: c.speaker), lambda c: c.speaker):
        waiting: list[Clip] = []
        for clip in [*own, None]:
            if clip is None or _seconds([*waiting, clip]) > LONGEST:
                if waiting:
                    samples = np.concatenate([c.samples for c in waiting])
                    text = " ".join(c.text for c in waiting)
                    yield Clip(f"{waiting[0].id}+", samples, text, speaker)
                waiting = []
            if clip is not None:
                waiting.append(clip)


def _systems(arguments: argparse.Namespace) -> list[str]:
    return [
        *(["whisper-base"] if arguments.whisper else []),
        Path(arguments.model).name,
        *(["adapted"] if arguments.adapter else []),
        *(["listed"] if arguments.biasing_list else []),
    ]


def _decode(system: str, clips: list[Clip], path: Path, arguments: argparse.Namespace) -> None:
    if path.is_file() and len(path.read_text("utf-8").splitlines()) == len(clips):
        return
    begun = time.perf_counter()
    if system == "whisper-base":
        whisper = load_whisper(arguments.whisper)
        texts = by_whisper(whisper, [clip.samples for clip in clips], arguments.beams)
    else:
        texts = _by_us(system, clips, arguments)
    _write(path, ({**_row(clip), "pred_text": text} for clip, text in zip(clips, texts)))
    took = time.perf_counter() - begun
    print(f"{system}: RTFx {_seconds(clips) / took:.1f}, with loading", file=sys.stderr)


def _by_us(system: str, clips: list[Clip], arguments: argparse.Namespace) -> list[str]:
    from asr_llm import SpeechLLM

    adapter = arguments.adapter if system == "adapted" else None
    listed = make_list(arguments.biasing_list) if system == "listed" else None
    model = SpeechLLM.load(
        arguments.model, adapter=adapter, num_beams=arguments.beams, biasing=listed
    )
    return by_us(model, [clip.samples for clip in clips])


def _score(name: str, place: Path, arguments: argparse.Namespace) -> None:
    entities = DOMAINS / name / "terms"
    systems = [f"{place / system}.jsonl" for system in _systems(arguments)]
    command = [sys.executable, "-m", "asr_llm.cli", "score", "--normalizer", "whisper-en"]
    command += ["--reference", str(place / "reference.jsonl")]
    command += [part for system in systems for part in ("--hypothesis", system)]
    subprocess.run(
        [*command, *(["--entities", str(entities)] if entities.is_dir() else [])], check=True
    )


def _slots(clips: list[Clip], place: Path, base: str) -> None:
    """Per system, how many slot values are in the text, word for word; intervals over clips."""
    drawn = np.random.default_rng(0).integers(len(clips), size=(2_000, len(clips)))
    wanted = np.array([len(clip.slots) for clip in clips])
    right: dict[str, np.ndarray] = {}
    for path in sorted(place.glob("*.jsonl")):
        if path.name != "reference.jsonl":
            rows = [json.loads(line) for line in path.open(encoding="utf-8")]
            texts = {row["id"]: row["pred_text"] for row in rows}
            right[path.stem] = np.array([slots_found(clip.slots, texts[clip.id]) for clip in clips])

    def interval(counts: np.ndarray) -> str:
        rates = 100 * counts[drawn].sum(1) / wanted[drawn].sum(1)
        return "{:.1f} to {:.1f}".format(*np.quantile(rates, [0.025, 0.975]))

    for name, own in right.items():
        line = f"{name}: {own.sum()}/{wanted.sum()} slot values, {own.sum() / wanted.sum():.1%}"
        more = f"; minus {base}: {interval(own - right[base])}" if name != base else ""
        print(f"{line} ({interval(own)}){more}")


def _row(clip: Clip) -> dict[str, Any]:
    duration = round(len(clip.samples) / SAMPLE_RATE, 3)
    return {"id": clip.id, "duration": duration, "speaker": clip.speaker}


def _seconds(clips: Iterable[Clip]) -> float:
    return sum(len(clip.samples) for clip in clips) / SAMPLE_RATE


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    main()
