"""Put a trained model into the package as `mini`: weights in 8 bits, replay text, the card.

    python adapt/mini/release.py runs/mini-6-longer/model

The replay text is a copy of domains/general, so that an adaptation far from this repository
still has general sentences to rehearse.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from asr_llm.model import checkpoints, delta

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "asr_llm" / "assets" / "mini"
LIMIT_PARAMETERS, LIMIT_BYTES = 16_000_000, 12_000_000


def main() -> None:
    """Copy, check the limits, print where it went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="checkpoint folder of the last stage")
    source = parser.parse_args().model

    model = checkpoints.load(source)
    count = sum(p.numel() for p in model.parameters())
    card = (ROOT / "adapt" / "mini" / "CARD.md").read_text("utf-8")
    general = ROOT / "domains" / "general"
    checkpoints.save(model, TARGET, card, dtype=torch.bfloat16, replay=general)
    for path in TARGET.glob("*.safetensors"):
        save_file(delta.encode(load_file(path)), path, metadata={"format": "pt"})
        path.chmod(0o644)
    size = sum(path.stat().st_size for path in TARGET.rglob("*.safetensors"))
    if count > LIMIT_PARAMETERS or size > LIMIT_BYTES:
        raise SystemExit(f"too large: {count} parameters, {size} bytes of weights")
    print(f"{TARGET}: {count / 1e6:.1f} M parameters, {size / 1e6:.1f} MB of weights")


if __name__ == "__main__":
    main()
