"""Everything to run first on a GPU: is it right, how fast is it, and what does it need?

    python eval/gpu.py [--out gpu] [--home FOLDER] [--dry-run] [STEP...]

Each step runs in a process of its own, so that one that fails leaves a row that says why, and the
rest goes on. Every row is written to OUT/gpu.json as soon as it is there; a Markdown table is
printed at the end, and is in OUT/gpu.md. Without a GPU, or with `--dry-run`, the same code runs on
the CPU with a twentieth of the parameters and a few tokens: that checks the script, and its times
mean nothing.

The checkpoint has the layout of nvidia/canary-qwen-2.5b and random weights (`tests/canary.py`; 5.1
GB, kept in `--home` if given). `generate-…` and `attention` need no NeMo, only transformers. FLOPs
are counted by torch; MFU is relative to the fastest bfloat16 product of matrices measured here.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
CANARY = "nvidia/canary-qwen-2.5b"
MARK = "ROWS "
TOLERANCES = {"float32": 1e-3, "bfloat16": 2e-2}
"""Largest difference of a loss, in nats, that counts as the same."""


@dataclass(frozen=True)
class Row:
    """A finding; ``failed`` says why there is none."""

    step: str
    what: str
    value: float | str | None = None
    unit: str = ""
    failed: str | None = None


@dataclass(frozen=True)
class Sizes:
    """How much is done; the dry run only touches everything."""

    clips: int = 64
    batch: int = 32
    tokens: int = 128
    prompt: int = 256
    seconds: tuple[int, ...] = (120, 300, 600, 1200, 2400, 4800)
    rows: tuple[int, ...] = (4, 8, 16, 32)
    repeats: int = 5
    matrix: int = 8192


DRY = Sizes(2, 2, 4, 8, (4, 8), (1,), 1, 1024)


@dataclass(frozen=True)
class Here:
    """Where a step runs: ``cuda`` or ``cpu``, and how much it does."""

    device: str
    dry: bool
    home: Path

    @property
    def sizes(self) -> Sizes:
        return DRY if self.dry else Sizes()

    @property
    def size(self) -> Any:
        """Dimensions of the checkpoint."""
        import canary

        return canary.SMALL if self.dry else canary.FULL


Found = Iterator[tuple[str, float | str, str]]
"""What was measured, the value and its unit."""


# What is here ----------------------------------------------------------------------------


def environment(here: Here) -> Found:
    """Versions and the GPU."""
    import torch

    yield "system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", ""
    for name in ("torch", "transformers", "nemo-toolkit", "lightning", "peft"):
        try:
            yield name, version(name), ""
        except PackageNotFoundError:
            yield name, "missing", ""
    yield "CUDA of torch", str(torch.version.cuda), ""
    if here.device == "cuda":
        found = torch.cuda.get_device_properties(0)
        yield "GPU", found.name, ""
        yield "memory", found.total_memory / 2**30, "GiB"
        yield "free memory", torch.cuda.mem_get_info()[0] / 2**30, "GiB"
        yield "bfloat16", str(torch.cuda.is_bf16_supported()), ""
        yield "compute capability", f"{found.major}.{found.minor}", ""


def checkpoint(here: Here) -> Found:
    """Write the checkpoint where there is none."""
    import canary

    if not (here.home / "hub").is_dir():
        start = time.perf_counter()
        canary.write(here.home, here.size)
        yield "written", time.perf_counter() - start, "s"
    sizes = [path.stat().st_size for path in here.home.rglob("model.safetensors")]
    yield "weights", sum(sizes) / 1e9, "GB"


# Is it right? ----------------------------------------------------------------------------


def texts(here: Here) -> Found:
    """What `mini`, with its trained weights, writes here and on the CPU."""
    from asr_llm.corpus.recordings.audio import load_audio
    from asr_llm.decoding.decoder import Decoder
    from asr_llm.decoding.options import DecodeOptions
    from asr_llm.model import checkpoints

    samples = load_audio(ROOT / "examples" / "kennedy.ogg")
    parts = [samples, samples[:64000], samples[48000:]]
    model = checkpoints.load("mini")

    def written(beams: int, bf16: bool) -> list[str]:
        options = DecodeOptions(num_beams=beams, bf16=bf16)
        return [one.text for one in Decoder(model).decode(parts, options)]

    expected = {beams: written(beams, False) for beams in (1, 4)}
    model.to(here.device)
    for bf16 in (False, True):
        for beams, texts in expected.items():
            same = sum(a == b for a, b in zip(written(beams, bf16), texts))
            kind = "bfloat16" if bf16 else "float32"
            yield f"as on the CPU, {kind}, {beams} beams", f"{same} of {len(texts)}", "texts"


def losses(here: Here) -> Found:
    """The loss of Canary's layout, here and in float32 on the CPU."""
    import torch

    from asr_llm.model import checkpoints

    torch.backends.cuda.matmul.allow_tf32 = False
    model = checkpoints.load(CANARY)
    batch = _batch(model, 1)
    expected = _loss(model, batch, nullcontext())
    yield "float32 on the CPU", expected, "nats"
    model.to(here.device)
    for kind, tolerance in TOLERANCES.items():
        cast = torch.autocast(here.device, torch.bfloat16, enabled=kind == "bfloat16")
        found = _loss(model, batch.to(here.device), cast)
        yield f"{kind} here", found, "nats"
        if not abs(found - expected) <= tolerance * max(1.0, expected):
            raise ArithmeticError(f"{kind}: {found} here, {expected} on the CPU")


def _loss(model: Any, batch: Any, cast: Any) -> float:
    import torch

    with torch.no_grad(), cast:
        return float(model.losses(batch)["lm"])


# The parts -------------------------------------------------------------------------------


def matmul(here: Here) -> Found:
    """The fastest bfloat16 product of matrices: what MFU is relative to."""
    yield "product", _peak(here) / 1e12, "TFLOP/s"


def _peak(here: Here) -> float:
    """Measured FLOP/s of a large product in bfloat16; a CPU, which may lack it, takes float32."""
    import torch

    n, kind = here.sizes.matrix, torch.bfloat16 if here.device == "cuda" else torch.float32
    a, b = (torch.randn(n, n, device=here.device, dtype=kind) for _ in range(2))
    return 2 * n**3 / min(_seconds(here, lambda: a @ b, repeats=1) for _ in range(5))


def attention(here: Here) -> Found:
    """Each fused kernel of torch, on Canary-Qwen's heads in bfloat16."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    shape = (4, here.size.heads, here.sizes.prompt * 4, 128)
    q, k, v = (torch.randn(shape, device=here.device, dtype=torch.bfloat16) for _ in range(3))
    for backend in (
        SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.FLASH_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
    ):  # fmt: skip
        name = backend.name.removesuffix("_ATTENTION").lower()
        try:
            with sdpa_kernel(backend):
                seconds = _seconds(
                    here, lambda: scaled_dot_product_attention(q, k, v, is_causal=True)
                )
            yield f"{name}, {shape[2]} positions", seconds * 1e3, "ms"
        except RuntimeError as error:
            yield f"{name}, {shape[2]} positions", f"not here: {_line(error)}", ""


def generate(here: Here, cache: str, beams: int, compiled: bool) -> Found:
    """Tokens a second of the LLM alone by transformers, whose cache may be static and compiled."""
    import canary
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, CompileConfig

    known = canary.llm_config(here.size)
    config = AutoConfig.for_model(known.pop("model_type"), **known)
    torch.manual_seed(0)
    with torch.device(here.device):
        llm = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    sizes = here.sizes
    prompt = torch.randint(0, 150_000, (sizes.batch, sizes.prompt), device=here.device)
    how: dict[str, Any] = {"cache_implementation": cache} if cache != "dynamic" else {}
    if compiled:
        graphs = CompileConfig(mode="reduce-overhead")  # CUDA graphs
        traced = CompileConfig(mode=None, backend="eager")  # quick, for a dry run
        how["compile_config"] = graphs if here.device == "cuda" else traced
        how["compile_config"]._compile_all_devices = True
    else:
        how["disable_compile"] = True

    def run() -> Any:
        with torch.inference_mode():
            return llm.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=sizes.tokens,
                min_new_tokens=sizes.tokens, num_beams=beams, do_sample=False, pad_token_id=0,
                **how,
            )  # fmt: skip

    seconds = _seconds(here, run)
    yield "speed", sizes.batch * sizes.tokens / seconds, "tokens/s"
    yield "a step", 1e3 * seconds / sizes.tokens, "ms"
    yield "memory", _memory(here), "GiB"


# Decoding --------------------------------------------------------------------------------


def batches(here: Here, beams: int) -> Found:
    """Memory and speed by seconds of audio in a batch, until it does not fit."""
    import torch

    from asr_llm.decoding.decoder import Decoder
    from asr_llm.decoding.options import DecodeOptions
    from asr_llm.model import checkpoints
    from asr_llm.transcription.batching import _BYTES_PER_SECOND

    model = checkpoints.load(CANARY).eval().to(here.device)
    decoder = Decoder(model)
    options = DecodeOptions(num_beams=beams, max_new_tokens=here.sizes.tokens, drafts=False)
    length = 4 if here.dry else 20
    for seconds in here.sizes.seconds:
        clips = _noise(seconds // length, length)
        before = _memory(here, reset=True)
        try:
            took = _seconds(here, partial(decoder.decode, clips, options), repeats=1)
        except torch.OutOfMemoryError:
            yield f"{seconds} s in a batch", "does not fit", ""
            break
        each = (_memory(here) - before) * 2**30 / (seconds * beams)
        yield f"{seconds} s in a batch", seconds / took, "RTFx"
        yield f"{seconds} s in a batch, per second and beam", each / 1e6, "MB"
    yield "budgeted per second and beam", _BYTES_PER_SECOND / 1e6, "MB"


def speed(here: Here, system: str) -> Found:
    """RTFx as `eval/bench/transcribe.py` measures it: NeMo's `SALM.generate`, or ours."""
    sizes = here.sizes
    command = [
        sys.executable, ROOT / "eval" / "bench" / "transcribe.py", "--system", system, "--model",
        CANARY, "--clips", sizes.clips, "--batch", sizes.batch, "--max-new-tokens", sizes.tokens,
    ]  # fmt: skip
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(_last(done.stderr))
    found = json.loads(done.stdout.splitlines()[-1])
    yield "speed", found["audio"] / found["seconds"], "RTFx"
    yield "memory", found["memory"] / 1024, "GiB"


# Training --------------------------------------------------------------------------------


def train_ours(here: Here) -> Found:
    """A step of ours: LoRA of rank 128 on queries and values, as Canary-Qwen has."""
    from asr_llm.model import checkpoints
    from asr_llm.recipe import LoraRecipe, Recipe
    from asr_llm.sequences.sources import AsrSource
    from asr_llm.training.parts import prepare

    model = checkpoints.load(CANARY)
    recipe = Recipe(
        model=CANARY, train=["lora", "projector"],
        lora=LoraRecipe(r=128, lora_alpha=256, target_modules=["q_proj", "v_proj"]),
        sources=[AsrSource(data="domain")],
    )  # fmt: skip
    prepare(model, recipe)
    model.to(here.device).train()
    model.perception.encoder.eval()
    yield from _trained(here, model, lambda batch: model.losses(batch)["lm"])


def train_nemo(here: Here) -> Found:
    """The same step by NeMo's `SALM.training_step`."""
    from nemo.collections.speechlm2.models import SALM

    model = SALM.from_pretrained(CANARY)
    for name, parameter in model.named_parameters():
        own = ".lora_" in name or name.startswith(("perception.proj.", "perception.modality"))
        parameter.requires_grad_(own)
    model.to(here.device).train()

    def loss(batch: Any) -> Any:
        given = {
            "audios": batch.speech.audios, "audio_lens": batch.speech.audio_lens,
            "input_ids": batch.input_ids, "loss_mask": batch.loss_mask,
        }  # fmt: skip
        return model.training_step(given, 0)["loss"]

    yield from _trained(here, model, loss)


def _trained(here: Here, model: Any, loss_of: Callable[[Any], Any]) -> Found:
    """Tokens a second, MFU and memory of AdamW steps, by rows of a batch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)
    peak = _peak(here)
    for rows in here.sizes.rows:
        batch = _batch(model, rows).to(here.device)

        def step(batch: Any = batch) -> None:
            with torch.autocast(here.device, torch.bfloat16, enabled=here.device == "cuda"):
                loss = loss_of(batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        _memory(here, reset=True)
        try:
            with FlopCounterMode(display=False) as counter:
                step()
            seconds = _seconds(here, step)
        except torch.OutOfMemoryError:
            yield f"{rows} rows", "does not fit", ""
            break
        positions = _positions(batch)
        yield f"{rows} rows of {positions // rows} positions", positions / seconds, "tokens/s"
        flops = counter.get_total_flops()  # of what it does; some of that may be needless
        yield f"{rows} rows, a step", flops / 1e12, "TFLOP"
        yield f"{rows} rows, MFU", 100 * flops / seconds / peak, "%"
        yield f"{rows} rows, memory", _memory(here), "GiB"


def _batch(model: Any, rows: int) -> Any:
    """Rows of ten seconds of noise and forty words, of a model of ours or NeMo's."""
    from asr_llm.corpus.speech.synthesis import Utterance
    from asr_llm.sequences.batching import Collator
    from asr_llm.sequences.tasks import Chat, asr

    frame = round(model.token_equivalent_duration * model.sampling_rate)
    collate = Collator(model.tokenizer.tokenizer, model.audio_locator_tag, model.text_pad_id, frame)
    chat = Chat(
        before="<|im_start|>user\n", after="<|im_end|>\n<|im_start|>assistant\n",
        end="<|im_end|>", frame_samples=frame, sample_rate=model.sampling_rate,
    )  # fmt: skip
    text = " ".join(["the kettle is on the table"] * 7)
    return collate([asr(Utterance(text, "", noise), chat) for noise in _noise(rows, 10)])


def _positions(batch: Any) -> int:
    """Positions of the LLM: tokens, and frames in place of the locator."""
    frames = sum(batch.speech.audio_frames)
    return int(batch.input_ids.numel()) - len(batch.input_ids) + frames


# How it is measured ----------------------------------------------------------------------


def _noise(number: int, seconds: int) -> list[Any]:
    import numpy as np

    dice = np.random.default_rng(0)
    return [dice.normal(0, 0.1, seconds * 16000).astype("float32") for _ in range(number)]


def _seconds(here: Here, work: Callable[[], Any], repeats: int | None = None) -> float:
    """Median seconds of some calls, after one that does not count."""
    import torch

    took = []
    for _ in range(1 + (repeats or here.sizes.repeats)):
        start = time.perf_counter()
        work()
        if here.device == "cuda":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - start)
    return sorted(took[1:])[(len(took) - 1) // 2]


def _memory(here: Here, reset: bool = False) -> float:
    """Peak GiB of the GPU since the last reset, or of the process; after a reset, what is held."""
    import resource

    import torch

    if here.device == "cuda":
        if reset:
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


# Steps -----------------------------------------------------------------------------------

STEPS: dict[str, Callable[[Here], Found]] = {
    "environment": environment,
    "checkpoint": checkpoint,
    "texts": texts,
    "losses": losses,
    "matmul": matmul,
    "attention": attention,
    "generate-greedy": lambda here: generate(here, "dynamic", 1, False),
    "generate-greedy-static": lambda here: generate(here, "static", 1, False),
    "generate-greedy-compiled": lambda here: generate(here, "static", 1, True),
    "generate-beams": lambda here: generate(here, "dynamic", 4, False),
    "generate-beams-static": lambda here: generate(here, "static", 4, False),
    "generate-beams-compiled": lambda here: generate(here, "static", 4, True),
    "batches-greedy": lambda here: batches(here, 1),
    "batches-beams": lambda here: batches(here, 4),
    "speed-nemo": lambda here: speed(here, "nemo"),
    "speed-ours": lambda here: speed(here, "undrafted"),
    "train-ours": train_ours,
    "train-nemo": train_nemo,
}


def run_step(name: str, here: Here) -> list[Row]:
    """The rows of a step; the last one says why it stopped, if it failed."""
    rows = []
    try:
        for what, value, unit in STEPS[name](here):
            rows.append(Row(name, what, value, unit))
    except ModuleNotFoundError as error:
        rows.append(Row(name, "", failed=f"{error.name} is not installed"))
    except Exception as error:  # whatever it is, it is this step's finding
        rows.append(Row(name, "", failed=_line(error)))
    return rows


def isolated(name: str, here: Here, minutes: float) -> list[Row]:
    """``run_step`` in a process of its own, which may crash or hang."""
    command = [sys.executable, __file__, "--run", name, "--home", str(here.home)]
    command += ["--dry-run"] if here.dry else []
    command += ["--on-cpu"] if here.device == "cpu" else []
    known = {"HF_HOME": str(here.home.resolve()), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    before = os.environ.get("PYTHONPATH")
    known["PYTHONPATH"] += f"{os.pathsep}{before}" if before else ""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | known, cwd=ROOT,
            timeout=60 * minutes,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return [Row(name, "", failed=f"not done after {minutes:g} minutes")]
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(MARK):
            return [Row(**row) for row in json.loads(line.removeprefix(MARK))]
    return [Row(name, "", failed=f"ended with {done.returncode}: {_last(done.stderr)}")]


def markdown(rows: list[Row]) -> str:
    """All rows as a table."""
    lines = ["| step | what | value |", "|---|---|---|"]
    for row in rows:
        value = f"{row.value:.4g}" if isinstance(row.value, float) else str(row.value)
        shown = f"failed: {row.failed}" if row.failed else f"{value} {row.unit}".strip()
        lines.append(
            "| " + " | ".join(c.replace("|", "/") for c in (row.step, row.what, shown)) + " |"
        )
    return "\n".join(lines) + "\n"


def _line(error: Exception) -> str:
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text}"[:200]


def _last(said: str) -> str:
    """The last line on stderr: an exception's."""
    return next(iter(reversed(said.strip().splitlines())), "it said nothing")[:200]


@contextmanager
def _home(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> int:
    """Run the steps, write and print what they find; exit status 1 if one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--out", type=Path, default=Path("gpu"))
    parser.add_argument("--home", type=Path, help="a folder to keep the checkpoint in")
    parser.add_argument("--dry-run", action="store_true", help="little of everything")
    parser.add_argument("--minutes", type=float, default=20, help="that a step may take")
    parser.add_argument("--on-cpu", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--run", choices=STEPS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if unknown := {*asked.steps} - STEPS.keys():
        parser.error(f"no step {sorted(unknown)[0]}; expected {', '.join(STEPS)}")
    device = "cpu" if asked.on_cpu or not _has_gpu() else "cuda"
    if asked.run:
        rows = run_step(asked.run, Here(device, asked.dry_run, asked.home))
        print("\n" + MARK + json.dumps([asdict(row) for row in rows]), flush=True)
        return 0
    asked.out.mkdir(parents=True, exist_ok=True)
    found: list[Row] = []
    with _home(asked.home) as home:
        here = Here(device, asked.dry_run or device == "cpu", home.resolve())
        for name in asked.steps or STEPS:
            print(f"{name} …", file=sys.stderr, flush=True)
            found += isolated(name, here, asked.minutes)
            content = {"device": device, "dry_run": here.dry, "rows": [*map(asdict, found)]}
            (asked.out / "gpu.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    title = f"Dry run on a {device}: times mean nothing.\n\n" if here.dry else ""
    (asked.out / "gpu.md").write_text(title + markdown(found), "utf-8")
    print(title + markdown(found), end="")
    return int(any(row.failed for row in found))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    sys.exit(main())
