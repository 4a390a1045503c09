"""Training speed of packed and padded batches: decoder positions per second, forward and backward.

    python eval/packing.py [--model mini] [--positions 4000] [--pack 256 512 1024 4000]

The batches are those of a mix of speech, interleaved speech and text. Positions are counted without
padding, so the figures compare. Needs the data that the model brings to replay.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from asr_llm.cli import silence_libraries
from asr_llm.corpus.domain.folder import Domain
from asr_llm.model import checkpoints
from asr_llm.recipe import Recipe
from asr_llm.sequences.sources import AsrSource, Folders, InterleaveSource, TextSource
from asr_llm.training.parts import prepare
from asr_llm.training.streams import make_stream

KINDS = (AsrSource, InterleaveSource, TextSource)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--positions", type=int, default=4000, help="in a batch, about")
    parser.add_argument("--pack", type=int, nargs="+", default=[256, 512, 1024, 4000])
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--attention", default="eager", help="eager, sdpa, flash_attention_2")
    arguments = parser.parse_args()
    silence_libraries()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = checkpoints.locate(arguments.model)
    model = checkpoints.load(base).to(device)
    recipe = Recipe(
        sources=[kind(data="replay") for kind in KINDS],
        batch_positions=arguments.positions,
        steps=arguments.batches,
    )
    prepare(model, recipe)
    model.causal_lm.set_attn_implementation(arguments.attention)
    model.train()
    stream = make_stream(
        recipe, model, recipe.sources, Folders(replay=Domain.load(base / "replay"))
    )
    batches = [stream[i].to(device) for i in range(arguments.batches)]
    with torch.no_grad():
        positions = sum(int(model.splice(batch).attention_mask.sum()) for batch in batches)
        room = sum(model.splice(batch).attention_mask.numel() for batch in batches)
    print(f"{positions / len(batches):.0f} positions a batch, {1 - positions / room:.0%} padding\n")
    print("| row | positions/s |\n|---|---|")
    for pack in [None, *arguments.pack]:
        _step(model, batches[0], pack)
        began = time.perf_counter()
        for batch in batches:
            _step(model, batch, pack)
        rate = positions / (time.perf_counter() - began)
        print(f"| {'padded' if pack is None else f'packed to {pack}'} | {rate:.0f} |", flush=True)


def _step(model: Any, batch: dict[str, Any], pack: int | None) -> None:
    model.losses(batch, pack=pack)["lm"].backward()
    model.zero_grad()
    if batch.input_ids.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
