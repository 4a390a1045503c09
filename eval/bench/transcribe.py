"""Speed of decoding against NeMo's own `SALM.generate`: same checkpoint, audio, precision, text.

    python eval/bench/transcribe.py [--model mini] [--clips 64] [--batch 8] [--max-new-tokens 128]

The clips are held-out sentences of domains/medical and domains/general, joined and cut to 1 to 30
seconds. NeMo decodes them in the order they come in, `--batch` at a time, as its examples do; we
sort them by length and put as many into a batch as `SpeechLLM` does. Both decode greedily, without
guards. The texts must be the same; those that are not are counted, and the exit status is 1.
RTFx: seconds of audio in a second. Memory: peak of a process of its own.
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

import numpy as np

from asr_llm.cli import silence_libraries
from asr_llm.corpus.audio import SAMPLE_RATE, cut_audio
from asr_llm.corpus.domain import Domain
from asr_llm.corpus.spoken import spoken_set
from asr_llm.model import checkpoints
from asr_llm.model.decoding import decode
from asr_llm.transcription.speech_llm import SpeechLLM


def main() -> int:
    """Print a Markdown table; each system runs in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8, help="of NeMo")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--system", choices=["nemo", "asr_llm"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    silence_libraries()
    if arguments.system:
        print(json.dumps(_run(arguments)))
        return 0
    found = {}
    print("| | RTFx | seconds | MiB |\n|---|---|---|---|")
    for system in ("nemo", "asr_llm"):
        command = [sys.executable, __file__, *sys.argv[1:], "--system", system]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[system] = json.loads(done.stdout.splitlines()[-1])
        seconds, audio, memory = (found[system][key] for key in ("seconds", "audio", "memory"))
        print(f"| {system} | {audio / seconds:.1f} | {seconds:.1f} | {memory:.0f} |", flush=True)
    texts = [found[system]["texts"] for system in ("nemo", "asr_llm")]
    others = sum(a != b for a, b in zip(*texts))
    faster = found["nemo"]["seconds"] / found["asr_llm"]["seconds"]
    print(f"\n{faster:.1f} times as fast; {others} of {len(texts[0])} texts differ")
    return 1 if others else 0


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
    clips = _clips(arguments.clips, frame)
    decoded(model, clips[:2], arguments)  # what is made once
    start = time.perf_counter()
    texts = decoded(model, clips, arguments)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    audio = sum(map(len, clips)) / SAMPLE_RATE
    return {"texts": texts, "seconds": seconds, "audio": audio, "memory": memory / 1024}


def _nemo(model, clips: list[np.ndarray], arguments: argparse.Namespace) -> list[str]:
    import torch

    texts = []
    tokenizer = model.tokenizer.tokenizer
    prompt = model.cfg.get("asr_prompt", "Transcribe the following: {audio}")
    message = {"role": "user", "content": prompt.format(audio=model.audio_locator_tag)}
    for i in range(0, len(clips), arguments.batch):
        batch = clips[i : i + arguments.batch]
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
    from asr_llm.model import decoding
    from asr_llm.transcription.speech_llm import batches

    decoding.cut_loop = lambda text: text  # no guards here
    order = sorted(range(len(clips)), key=lambda i: len(clips[i]))
    seconds = SpeechLLM(model, "").batch_seconds
    texts = [""] * len(clips)
    for batch in batches(order, lambda i: len(clips[i]) / SAMPLE_RATE, seconds):
        done = decode(model, [clips[i] for i in batch], max_new_tokens=arguments.max_new_tokens)
        for i, one in zip(batch, done):
            texts[i] = one.text
    return texts


def _clips(number: int, frame: int) -> list[np.ndarray]:
    """Clips of 1 to 30 s, in whole frames of the encoder."""
    rng = np.random.default_rng(0)
    folders = (Path("domains/medical"), Path("domains/general"))
    cuts = chain(*(spoken_set(Domain.load(folder), "test") for folder in folders))
    speech = np.concatenate([cut_audio(cut) for cut in cuts])
    clips = []
    for _ in range(number):
        length = int(rng.uniform(1, 30) * SAMPLE_RATE) // frame * frame
        start = int(rng.integers(0, len(speech) - length))
        clips.append(speech[start : start + length])
    return clips


if __name__ == "__main__":
    sys.exit(main())
