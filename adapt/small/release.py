"""Put what was trained into the package as `small`: the delta to its foundations, CTC head, card.

    python adapt/small/release.py runs/small/model --rank 24

The model is a checkpoint folder in float32 with any LoRA merged (`asr-llm export --merge`), trained
from `asr-llm model compose`; rounded to bfloat16, more is said to be lost than is. It is composed
again from what was written, which shows that it can be, and gives the hash by which adapters know
it (`sha256` in foundations.yaml).
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from pathlib import Path

from safetensors.torch import load_file, save_file

from asr_llm.model import checkpoints, composition, delta, foundations, sources, store

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "asr_llm" / "assets" / "small"
CARD = ROOT / "adapt" / "small" / "CARD.md"
LIMIT_BYTES = 20_000_000


def main() -> None:
    """Write, check the limit, compose, print what was lost and where it went."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="checkpoint folder of the last stage")
    parser.add_argument("--rank", type=int, default=24, help="of the LLM's LoRA")
    parser.add_argument("--bfloat16", action="store_true", help="in place of 8 bits a value")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as place:
        encoder = foundations.find_encoder("small", Path(place), sources.tell)
        llm = foundations.find_llm("small", Path(place), sources.tell)
    trained = composition.state_of(checkpoints.load(args.model))
    base = composition.base_state(encoder, llm)
    packed = delta.pack(base, trained, TARGET / store.DELTA, args.rank, not args.bfloat16)
    copy_rest(args.model)
    size = sum(path.stat().st_size for path in TARGET.rglob("*") if path.is_file())
    if size > LIMIT_BYTES:
        raise SystemExit(f"too large: {size} bytes; take a lower --rank")
    for name, error in sorted(packed.errors.items(), key=lambda item: -item[1])[:5]:
        print(f"{error:.2%} of the change lost: {name}")
    print(f"{TARGET}: {size / 1e6:.1f} MB, composed in {pinned()}")


def copy_rest(model: Path) -> None:
    """Config, card, general text, and the CTC head with its vocabulary."""
    shutil.copyfile(model / checkpoints.CONFIG, TARGET / checkpoints.CONFIG)
    shutil.copyfile(CARD, TARGET / "README.md")
    shutil.copytree(ROOT / "domains" / "general", TARGET / "replay", dirs_exist_ok=True)
    for path in model.glob("ctc_*"):
        if path.suffix == ".safetensors":
            coded = delta.encode(load_file(path))
            save_file(coded, TARGET / path.name, metadata={"format": "pt"})
            (TARGET / path.name).chmod(0o644)
        else:
            shutil.copyfile(path, TARGET / path.name)


def pinned() -> Path:
    """Compose it, and write the hash of the weights into foundations.yaml."""
    pins = TARGET / store.PINS
    text = re.sub(r"^sha256: .*\n", "", pins.read_text("utf-8"), flags=re.MULTILINE)
    pins.write_text(text, "utf-8")
    folder = store.get("small")
    pins.write_text(f"{text}sha256: {checkpoints.identity(folder)}\n", "utf-8")
    return folder


if __name__ == "__main__":
    main()
