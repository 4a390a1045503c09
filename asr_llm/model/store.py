"""Models composed on the user's machine: `small`, in the user's cache.

The package contains the weights we trained (``assets/small``); the published foundations are
downloaded once. They are combined into a regular checkpoint folder, which needs no network
afterwards.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_llm.corpus.speech import cache
from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoint_folder, sources
from asr_llm.model.sources import Say, tell
from asr_llm.version import __version__

ASSETS = Path(__file__).parent.parent / "assets"
NAMES = ("small",)
DELTA, PINS, RECORD = "delta.safetensors", "foundations.yaml", "composed.json"

_LAYOUT = 1
"""Format version of ``get``: models of other versions are composed again."""


@dataclass(frozen=True)
class Stored:
    """A named model.

    ``folder`` is None if it must be composed first, which needs at most ``to_fetch`` bytes of
    downloads; ``source`` says what it was composed from.
    """

    name: str
    folder: Path | None
    bytes: int
    to_fetch: int
    licence: str
    source: str


def released(name: str) -> bool:
    """Whether this version of the package includes the trained part of a model."""
    return name in NAMES and (ASSETS / name / DELTA).is_file()


def find(name: str) -> Path | None:
    """The folder of a model composed by this version of the package; None if there is none."""
    folder = cache.location(cache.MODELS) / name
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    whole = all(
        (folder / needed).is_file()
        for needed in (checkpoint_folder.CONFIG, checkpoint_folder.WEIGHTS)
    )
    return folder if whole and record.get("made_of") == _made_of(name) else None


def get(name: str, say: Say = tell) -> Path:
    """Compose a model unless that was done before; return its folder.

    Args:
        say: called with a line on what is downloaded, its size, source and licence.

    Raises:
        CheckpointError: there is no such model, or its foundations are unavailable.
        OSError: the disk is full.
    """
    if not released(name):
        raise CheckpointError(
            f"this version has no model {name!r} to compose; expected one of "
            f"{', '.join(filter(released, NAMES)) or 'none: install a later version'}"
        )
    folder = find(name)
    if folder is not None:
        return folder
    from filelock import FileLock

    home = cache.folder(cache.MODELS)
    with FileLock(home / f".{name}.lock"):  # a second command waits
        folder = find(name)
        if folder is not None:
            return folder
        with _full_disk(home):
            _compose(name, home, say)
    say(f"{name} is ready in {home / name}; no network is needed from now on")
    return home / name


def remove(name: str) -> int:
    """Delete a composed model; return its size in bytes.

    Raises:
        CheckpointError: there is none of that name.
    """
    folder = cache.location(cache.MODELS) / name
    if name not in NAMES or not folder.is_dir():
        raise CheckpointError(f"no composed model {name!r} in {folder.parent}; nothing to remove")
    size = _size(folder)
    shutil.rmtree(folder)
    return size


def entries() -> list[Stored]:
    """The named models: `mini`, which the package includes, and composed ones."""
    mini = ASSETS / "mini"
    found = [Stored("mini", mini, _size(mini), 0, "Apache-2.0", "in the package")]
    for name in filter(released, NAMES):
        pins = sources.read(ASSETS / name / PINS)
        folder = find(name)
        source = "not composed yet"
        if folder is not None:
            record = json.loads((folder / RECORD).read_text("utf-8"))
            source = f"{record['encoder']}; {record['llm']}"
        packages = [*pins.encoder.packages, *pins.llm.packages]
        found.append(
            Stored(
                name,
                folder,
                _size(folder) if folder is not None else 0,
                sum(package.bytes for package in packages) if folder is None else 0,
                f"Apache-2.0; {pins.encoder.name}: {pins.encoder.licence}; "
                f"{pins.llm.name}: {pins.llm.licence}",
                source,
            )
        )
    return found


def _compose(name: str, home: Path, say: Say) -> None:
    """Fetch, combine, check; ``home`` gets a complete folder or none."""
    import torch

    from asr_llm.model import composition, delta, first_pass, foundations, whisper_folder

    assets = ASSETS / name
    pins = sources.read(assets / PINS)
    for stale in home.glob(f".{name}.fetched-*"):  # left by a killed command
        shutil.rmtree(stale, ignore_errors=True)
    with (
        checkpoint_folder.replacing(home / name) as part,
        tempfile.TemporaryDirectory(prefix=f".{name}.fetched-", dir=home) as fetched,
    ):
        found = [
            sources.fetch(wanted, Path(fetched) / role, say)
            for role, wanted in (("encoder", pins.encoder), ("llm", pins.llm))
        ]
        say(f"composing {name}: a minute or two")
        encoder, llm = foundations.encoder_of(found[0]), foundations.llm_of(found[1])
        state = delta.unpack(assets / DELTA, composition.base_state(encoder, llm))
        config = composition.prepared(
            json.loads((assets / checkpoint_folder.CONFIG).read_text()), llm
        )
        model = composition.build(config, llm, state, Path(fetched))
        checkpoint_folder.save(model, part, card="", dtype=torch.bfloat16)
        if config.get("first_pass_prompt"):
            whisper_folder.write(encoder, part / first_pass.FOLDER)
        own = shutil.ignore_patterns(PINS, DELTA)
        shutil.copytree(assets, part, ignore=own, dirs_exist_ok=True)
        _record(name, part, pins, found)


def _record(name: str, part: Path, pins: sources.Foundations, found: list[sources.Found]) -> None:
    sha256 = checkpoint_folder.identity(part)
    if pins.sha256 not in (None, sha256):
        # The hub's LLM differs only in quantisation: adapters fit both.
        (part / checkpoint_folder.FORMER).write_text(f"{pins.sha256}\n", "utf-8")
    record: dict[str, Any] = {
        "made_of": _made_of(name),
        "encoder": f"{pins.encoder.name} ({found[0].source})",
        "llm": f"{pins.llm.name} ({found[1].source})",
        "sha256": sha256,
        "asr_llm": __version__,
    }
    (part / RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _made_of(name: str) -> str:
    """SHA-256 of the package's files for a model, but for its card."""
    files = sorted(
        path for path in (ASSETS / name).rglob("*") if path.is_file() and path.name != "README.md"
    )
    lines = [f"{path.relative_to(ASSETS)} {checkpoint_folder.sha256(path)}\n" for path in files]
    return hashlib.sha256(f"{_LAYOUT}\n{''.join(lines)}".encode()).hexdigest()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _full_disk(home: Path) -> Iterator[None]:
    """safetensors reports a full disk in its own error."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(home)) from error
        raise
