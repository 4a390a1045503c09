"""Speed of decoding against NeMo's own `SALM.generate`: same checkpoint, audio, precision, text.

    python eval/bench/transcribe.py [--model mini] [--clips 64] [--batch 8] [--max-new-tokens 128]
    python eval/bench/transcribe.py --create eval/bench/canary-qwen.yaml

The clips are held-out sentences of domains/medical and domains/general, joined and cut to 1 to 30
seconds, or with `--sentences` as they are, where `mini` knows better what it hears. NeMo decodes
them in the order they come in, `--batch` at a time, as its examples do; we sort them and put as
many into a batch as `SpeechLLM` does, with drafts of the CTC head where they pay and without. All
decode greedily, without guards; one at a time with `--one-by-one`. The texts must be the same;
those that are not are counted, and the exit status is 1.
RTFx: seconds of audio in a second. Memory: peak of a process of its own, on CUDA that of the GPU.
The systems take turns, `--repeats` times, and the fastest of each counts: what else a machine has
to do only slows them down.

With `--create` the weights are random, in the dimensions of a description as for `asr-llm
pretrain`: speed without a checkpoint, for which no draft is any good.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.corpus.recordings.audio import SAMPLE_RATE, cut_audio
from asr_llm.corpus.speech.spoken import spoken_set
from asr_llm.decoding import decoder
from asr_llm.decoding.options import DecodeOptions
from asr_llm.model import checkpoints
from asr_llm.model.creation import create
from asr_llm.transcription.batching import batches, fitting_seconds, pools

SYSTEMS = ("nemo", "undrafted", "drafted")


def main() -> int:
    """Print a Markdown table; each system runs in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--create", type=Path, help="dimensions of random weights, in its place")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8, help="of NeMo")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--sentences", action="store_true", help="clips are whole sentences")
    parser.add_argument("--one-by-one", action="store_true", help="no batches, for us and NeMo")
    parser.add_argument("--system", choices=SYSTEMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    silence_libraries()
    if arguments.system:
        print(json.dumps(_run(arguments)))
        return 0
    with TemporaryDirectory() as folder:
        given = sys.argv[1:]
        if arguments.create:
            create(arguments.create, Path(folder) / "random", seed=1)
            given += ["--model", str(Path(folder) / "random")]
        return _compared(given, arguments.repeats)


def _compared(given: list[str], repeats: int) -> int:
    runs: dict[str, list[dict]] = {system: [] for system in SYSTEMS}
    for system in SYSTEMS * repeats:
        command = [sys.executable, __file__, *given, "--system", system]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        runs[system].append(json.loads(done.stdout.splitlines()[-1]))
    found = {system: min(some, key=lambda run: run["seconds"]) for system, some in runs.items()}
    print("| | RTFx | seconds | MiB |\n|---|---|---|---|")
    for system in SYSTEMS:
        seconds, audio, memory = (found[system][key] for key in ("seconds", "audio", "memory"))
        print(f"| {system} | {audio / seconds:.1f} | {seconds:.1f} | {memory:.0f} |")
    first = found[SYSTEMS[0]]
    differ = 0
    for system in SYSTEMS[1:]:
        pairs = list(zip(found[system]["texts"], first["texts"]))
        others = sum(a != b for a, b in pairs)
        faster = first["seconds"] / found[system]["seconds"]
        print(f"\n{system}: {faster:.1f} times as fast; {others} of {len(pairs)} texts differ")
        differ += others
    return 1 if differ else 0


def _run(arguments: argparse.Namespace) -> dict:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if arguments.system == "nemo":
        from nemo.collections.speechlm2.models import SALM

        model = SALM.from_pretrained(str(checkpoints.locate(arguments.model))).eval().to(device)
        decoded = _nemo
    else:
        model = checkpoints.load(arguments.model).eval().to(device)
        decoded = _ours
    frame = round(model.token_equivalent_duration * SAMPLE_RATE)
    clips = _clips(arguments.clips, frame, arguments.sentences)
    # Of the same precision: bfloat16 on CUDA is our default there.
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        decoded(model, clips[:2], arguments)  # what is made once
        start = time.perf_counter()
        texts = decoded(model, clips, arguments)
        seconds = time.perf_counter() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if device == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**20
    audio = sum(map(len, clips)) / SAMPLE_RATE
    return {"texts": texts, "seconds": seconds, "audio": audio, "memory": memory}


def _nemo(model, clips: list[np.ndarray], arguments: argparse.Namespace) -> list[str]:
    import torch

    texts = []
    tokenizer = model.tokenizer.tokenizer
    prompt = model.cfg.get("asr_prompt", "Transcribe the following: {audio}")
    message = {"role": "user", "content": prompt.format(audio=model.audio_locator_tag)}
    size = 1 if arguments.one_by_one else arguments.batch
    for i in range(0, len(clips), size):
        batch = clips[i : i + size]
        audios = torch.zeros(len(batch), max(map(len, batch)))
        for row, clip in zip(audios, batch):
            row[: len(clip)] = torch.from_numpy(clip)
        ids = model.generate(
            prompts=[[dict(message)] for _ in batch],
            audios=audios.to(model.device),
            audio_lens=torch.tensor([len(clip) for clip in batch], device=model.device),
            max_new_tokens=arguments.max_new_tokens,
        )
        for row in tokenizer.batch_decode(ids, skip_special_tokens=True):
            texts.append(" ".join(row.split()))
    return texts


def _ours(model, clips: list[np.ndarray], arguments: argparse.Namespace) -> list[str]:
    decoder.cut_loop = lambda text: text  # no guards here
    options = DecodeOptions(
        num_beams=1,
        max_new_tokens=arguments.max_new_tokens,
        drafts=arguments.system == "drafted",
    )

    def length(i: int) -> float:
        return len(clips[i]) / SAMPLE_RATE

    seconds = 0.0 if arguments.one_by_one else fitting_seconds(num_beams=1)
    texts = [""] * len(clips)
    held = pools(range(len(clips)), length, seconds)
    for batch in chain.from_iterable(batches(pool, length, seconds) for pool in held):
        done = decoder.Decoder(model).decode([clips[i] for i in batch], options)
        for i, one in zip(batch, done):
            texts[i] = one.text
    return texts


def _clips(number: int, frame: int, sentences: bool) -> list[np.ndarray]:
    """Clips of 1 to 30 s, or sentences, in whole frames of the encoder."""
    rng = np.random.default_rng(0)
    folders = (Path("domains/medical"), Path("domains/general"))
    cuts = chain(*(spoken_set(Domain.load(folder), "test") for folder in folders))
    spoken = [cut_audio(cut) for cut in cuts]
    if sentences:
        some = [spoken[i] for i in rng.choice(len(spoken), min(number, len(spoken)), False)]
        return [audio[: len(audio) // frame * frame] for audio in some]
    speech = np.concatenate(spoken)
    clips = []
    for _ in range(number):
        length = int(rng.uniform(1, 30) * SAMPLE_RATE) // frame * frame
        start = int(rng.integers(0, len(speech) - length))
        clips.append(speech[start : start + length])
    return clips


if __name__ == "__main__":
    sys.exit(main())
