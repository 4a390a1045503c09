"""Would another CPU runtime be faster than ours? The parts of `small` that take its time, in each.

    pip install onnx onnxscript
    python eval/bench/runtimes.py --whisper FOLDER [--threads 2] [--rounds 5]

Parts: Whisper's encoder on 10 s of audio, and a step of the LLM's search: 4 beams, one token each,
after 200 positions. Runtimes: PyTorch in float32; ours, which is PyTorch with `model.int8`; ONNX
Runtime in float32, and with its dynamic quantisation to 8 bits; CTranslate2 in 8 bits, from
faster-whisper's folder of Whisper base (its LLMs take tokens only, so no speech). Milliseconds: the
fastest of the rounds, in each of which the runtimes take turns. Error: of the output, as a share of
its standard deviation in float32.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from asr_llm.cli import silence_libraries
from asr_llm.model import checkpoints, int8

BEAMS, READ, SECONDS = 4, 200, 10
Run = Callable[[], np.ndarray]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="small")
    parser.add_argument("--whisper", help="faster-whisper's folder of Whisper base")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    silence_libraries()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print("| part | runtime | ms | error |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        place = Path(folder)
        for part, make in (("encoder", encoder), ("LLM's step", step)):
            runs = make(arguments, place)
            exact = runs["PyTorch, float32"]()
            for name, (ms, made) in timed(runs, arguments.rounds).items():
                error = ""
                if made.shape == exact.shape:
                    error = f"{np.abs(made - exact).mean() / exact.std():.4f}"
                print(f"| {part} | {name} | {ms:.1f} | {error} |", flush=True)


def encoder(arguments: argparse.Namespace, place: Path) -> dict[str, Run]:
    """Whisper's encoder, of which ours is a copy with its last layers trained."""
    mel, frames = torch.randn(1, 80, 100 * SECONDS), torch.tensor([100 * SECONDS])
    exact, ours = (checkpoints.load(arguments.model).perception.encoder for _ in range(2))
    int8.quantise(ours)
    runs: dict[str, Run] = {
        "PyTorch, float32": lambda: exact(mel, frames)[0].numpy(),
        "ours, 8 bits": lambda: ours(mel, frames)[0].numpy(),
    }
    path = exported(exact, (mel, frames), place / "encoder.onnx")
    runs |= by_onnx(path, {"a0": mel, "a1": frames}, arguments.threads)
    if arguments.whisper:
        import ctranslate2

        whisper = ctranslate2.models.Whisper(
            arguments.whisper, compute_type="int8", intra_threads=arguments.threads
        )
        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel.numpy()))
        runs["CTranslate2, 8 bits"] = lambda: np.array(whisper.encode(features, to_cpu=True))
    return runs


class Step(nn.Module):
    """A token for each beam: embeddings and a cache in, log-probabilities and nothing else out."""

    def __init__(self, llm: Any) -> None:
        super().__init__()
        self.llm = llm

    def forward(self, embeds: Tensor, *cache: Tensor) -> Tensor:
        """Embeddings (beams, 1, H), keys and values (beams, heads, READ, width) of each layer."""
        read = DynamicCache()
        for layer in range(len(cache) // 2):
            read.update(cache[2 * layer], cache[2 * layer + 1], layer)
        logits: Tensor = self.llm(inputs_embeds=embeds, past_key_values=read).logits
        return logits.log_softmax(-1)


def step(arguments: argparse.Namespace, place: Path) -> dict[str, Run]:
    """A step of the search."""
    from nemo.collections.speechlm2.parts.pretrained import move_embedding

    loaded = [checkpoints.load(arguments.model) for _ in range(2)]
    int8.quantise(loaded[1].llm)
    for model in loaded:
        move_embedding(model).__enter__()  # the LLM whole, as its search needs it
    exact, ours = (Step(model.causal_lm).eval() for model in loaded)
    config = exact.llm.config
    width = config.hidden_size // config.num_attention_heads
    shape = (BEAMS, config.num_key_value_heads, READ, width)
    cache = tuple(torch.randn(shape) for _ in range(2 * config.num_hidden_layers))
    inputs = (torch.randn(BEAMS, 1, config.hidden_size) * 0.1, *cache)
    runs: dict[str, Run] = {
        "PyTorch, float32": lambda: exact(*inputs).numpy(),
        "ours, 8 bits": lambda: ours(*inputs).numpy(),
    }
    path = exported(exact, inputs, place / "step.onnx")
    named = {f"a{i}": one for i, one in enumerate(inputs)}
    return runs | by_onnx(path, named, arguments.threads)


def exported(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Path:
    """A module as ONNX, its inputs named a0, a1, ..."""
    names = [f"a{i}" for i in range(len(inputs))]
    torch.onnx.export(module, inputs, path, input_names=names, dynamo=False, opset_version=17)
    return path


def by_onnx(path: Path, inputs: dict[str, Tensor], threads: int) -> dict[str, Run]:
    """ONNX Runtime, in float32 and with its dynamic quantisation."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small = path.with_suffix(".int8.onnx")
    quantize_dynamic(path, small, weight_type=QuantType.QInt8, per_channel=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads

    def run(file: Path) -> Run:
        session = onnxruntime.InferenceSession(file, options)
        wanted = {own.name for own in session.get_inputs()}
        given = {name: one.numpy() for name, one in inputs.items() if name in wanted}
        return lambda: session.run(None, given)[0]

    return {"ONNX Runtime, float32": run(path), "ONNX Runtime, 8 bits": run(small)}


def timed(runs: dict[str, Run], rounds: int) -> dict[str, tuple[float, np.ndarray]]:
    """Of each the fastest round in milliseconds, and its output."""
    best: dict[str, tuple[float, np.ndarray]] = {}
    for _ in range(rounds + 1):  # the first warms up
        for name, run in runs.items():
            began = time.perf_counter()
            made = run()
            took = 1000 * (time.perf_counter() - began)
            if name not in best or took < best[name][0]:
                best[name] = took, made
    return best


if __name__ == "__main__":
    main()
