"""Checkpoints: to NeMo and back, strict loading, whole folders or none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from asr_llm.errors import CheckpointError
from asr_llm.model.checkpoints import identity, load, locate, read_config, replacing, save

if TYPE_CHECKING:
    import torch

    from asr_llm.model.salm import SpanSALM


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A checkpoint folder to spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def heard(model: Any) -> torch.Tensor:
    """What a SALM, ours or NeMo's, says to one second of noise: logits (1, L, V)."""
    import torch

    samples = np.random.default_rng(0).standard_normal(12 * 1280).astype(np.float32)
    model.eval()
    with torch.no_grad():
        batch = {
            "audios": torch.from_numpy(samples)[None],
            "audio_lens": torch.tensor([len(samples)]),
            "input_ids": torch.tensor([[5, 6, model.audio_locator_tag_id, 7, 8, 9]]),
            "loss_mask": torch.tensor([[False, False, False, False, True, True]]),
        }
        inputs = model.prepare_inputs(batch)
        logits: torch.Tensor = model(inputs["input_embeds"], inputs["attention_mask"])["logits"]
    return logits


def same_weights(one: Any, two: Any) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


# To NeMo and back ------------------------------------------------------------------------


def test_nemo_loads_ours(tiny: Path) -> None:
    from nemo.collections.speechlm2.models import SALM

    ours, theirs = load(tiny), SALM.from_pretrained(str(tiny))
    assert same_weights(ours, theirs)
    assert heard(ours).equal(heard(theirs))
    assert theirs.tokenizer.tokenizer.get_vocab() == ours.tokenizer.tokenizer.get_vocab()


def test_ours_loads_nemos(tiny: Path, tmp_path: Path) -> None:
    """NeMo saves neither tokenizer nor LLM config: its config says where they are."""
    from nemo.collections.speechlm2.models import SALM

    model = SALM.from_pretrained(str(tiny))
    model.save_pretrained(tmp_path / "nemo")
    assert {p.name for p in (tmp_path / "nemo").iterdir()} <= {
        "README.md",
        "config.json",
        "model.safetensors",
    }
    ours = load(tmp_path / "nemo")
    assert same_weights(ours, model)
    assert heard(ours).equal(heard(model))


def test_saved_again_it_stands_alone(tiny: Path, tmp_path: Path) -> None:
    """A folder that borrowed its tokenizer and LLM config has its own once we saved it."""
    from nemo.collections.speechlm2.models import SALM

    SALM.from_pretrained(str(tiny)).save_pretrained(tmp_path / "nemo")
    model = load(tmp_path / "nemo")
    save(model, tmp_path / "a" / "ours", card="# Card\n")
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "a" / "ours", moved)
    assert same_weights(load(moved), model)
    assert (moved / "README.md").read_text("utf-8") == "# Card\n"
    assert str(tmp_path) not in (moved / "config.json").read_text("utf-8")
    assert sorted(p.name for p in moved.iterdir()) == [
        "README.md",
        "config.json",
        "llm_backbone",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_a_ctc_head_lies_beside_the_weights(tiny: Path, tmp_path: Path) -> None:
    from nemo.collections.speechlm2.models import SALM

    model = load(tiny)
    head = model.add_ctc_head()
    save(model, tmp_path / "ctc", card="")
    again = load(tmp_path / "ctc")
    assert again.ctc_head is not None
    assert again.ctc_head.weight.equal(head.weight)
    assert again.ctc_head.bias.equal(head.bias)
    assert heard(SALM.from_pretrained(str(tmp_path / "ctc"))).equal(heard(again))
    assert load(tiny).ctc_head is None


def test_bfloat16_on_disk_leaves_the_audio_features_exact(tiny: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    model = load(tiny)
    save(model, tmp_path / "bf16", card="", dtype=torch.bfloat16)
    stored = load_file(tmp_path / "bf16" / "model.safetensors")
    exact = {name for name, tensor in stored.items() if tensor.dtype == torch.float32}
    assert exact == {name for name in stored if ".featurizer." in name} != set()
    again = load(tmp_path / "bf16")
    for name, tensor in again.state_dict().items():
        assert tensor.dtype == torch.float32
        assert tensor.equal(model.state_dict()[name].to(stored.get(name, tensor.bfloat16()).dtype))


def test_tied_weights_are_stored_once_and_stay_tied(tiny: Path) -> None:
    from safetensors.torch import load_file

    stored = load_file(tiny / "model.safetensors")
    assert len({"llm.lm_head.weight", "embed_tokens.weight"} & stored.keys()) == 1
    model = load(tiny)
    assert model.llm.lm_head.weight is model.embed_tokens.weight


def test_a_checkpoint_is_loaded_to_be_used(tiny: Path) -> None:
    import torch

    model = load(tiny)
    assert not any(module.training for module in model.modules())
    assert load(tiny, torch.bfloat16).embed_tokens.weight.dtype == torch.bfloat16


def test_everyone_may_read_the_weights(tiny: Path) -> None:
    assert (tiny / "model.safetensors").stat().st_mode & 0o777 == 0o644


# Strictness ------------------------------------------------------------------------------


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    message = str(caught.value)
    assert message.count("\n") == 0
    return message


def test_missing_unexpected_and_reshaped_tensors_are_named(copy: Path) -> None:
    import torch

    def spoil(weights: dict[str, Any]) -> None:
        del weights["perception.proj.bias"]
        weights["llm.model.extra"] = torch.zeros(2)
        weights["perception.proj.weight"] = torch.zeros(3, 4)

    rewrite(copy, spoil)
    message = refusal(copy)
    assert "1 missing: perception.proj.bias" in message
    assert "1 unexpected: llm.model.extra" in message
    assert "1 of another shape: perception.proj.weight (3, 4) for (16, 16)" in message


def test_many_missing_tensors_are_counted_and_some_named(copy: Path) -> None:
    def spoil(weights: dict[str, Any]) -> None:
        for name in [n for n in weights if n.startswith("perception.encoder.")]:
            del weights[name]

    rewrite(copy, spoil)
    message = refusal(copy)
    assert "missing: perception.encoder." in message
    assert message.count("perception.encoder.") == 8
    assert " …" in message


def test_a_ctc_head_of_another_shape_is_refused(copy: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2, 2)}, copy / "ctc_head.safetensors")
    message = refusal(copy)
    assert "ctc_head.safetensors does not fit" in message
    assert "1 missing: bias" in message
    assert "weight (2, 2) for (301, 16)" in message


@pytest.mark.parametrize("keep", [0, 4, 100, 10_000])
def test_weights_cut_short(copy: Path, keep: int) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "may be cut short" in refusal(copy)


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    for key, value in changes.items():
        if value is None:
            del config[key]
        else:
            config[key] = value
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


@pytest.mark.parametrize(
    "key", ["pretrained_llm", "perception", "audio_locator_tag", "prompt_format"]
)
def test_a_config_that_lacks_a_key(copy: Path, key: str) -> None:
    edit_config(copy, **{key: None})
    assert f"config.json lacks {key}" in refusal(copy)


@pytest.mark.parametrize("text", ["[1, 2]", "3"])
def test_a_config_of_something_else(copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text, "utf-8")
    assert "lacks audio_locator_tag, perception, pretrained_llm" in refusal(copy)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{\n  "perception": }', "config.json:2: not JSON (from column 17 on); expected"),
        (b'{"name": "\xe9"}', "config.json: not JSON, and not text in UTF-8; expected"),
    ],
)
def test_a_config_that_is_no_json(copy: Path, content: bytes, found: str) -> None:
    (copy / "config.json").write_bytes(content)
    assert found in refusal(copy)


def test_a_config_of_no_model(copy: Path) -> None:
    edit_config(copy, perception={"preprocessor": {}})
    assert "does not describe a SALM model" in refusal(copy)


def test_without_the_llm_config(copy: Path) -> None:
    shutil.rmtree(copy / "llm_backbone")
    assert "has no llm_backbone/config.json" in refusal(copy)


def test_the_config_points_into_the_folder(tiny: Path) -> None:
    config = read_config(tiny)
    assert config["tokenizer_path"] == str(tiny)
    assert config["pretrained_llm"] == str(tiny / "llm_backbone")
    assert config["pretrained_weights"] is False


# Where a checkpoint is -------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.mark.parametrize(
    "name",
    ["./nothing", "nothing", "/no/thing", "../a", "a/b/c", "~/model", "", ".", "runs/nothing"],
)
def test_a_path_with_nothing_there_is_no_hub_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        locate(name)
    message = str(caught.value)
    if name in ("", "."):
        assert "has no config.json" in message
    else:
        assert message == (
            f"no model at {name}; expected 'small', 'mini', a checkpoint folder, or a hub name "
            "such as nvidia/canary-qwen-2.5b"
        )


def test_a_folder_without_weights(tmp_path: Path, no_network: None) -> None:
    (tmp_path / "config.json").write_text("{}", "utf-8")
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors; expected a SALM"):
        locate(tmp_path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LocalEntryNotFoundError("x"), "no folder a/b, and the hub cannot be reached; check the"),
        (HFValidationError("x"), "no folder a/b, and a name on the hub has another form"),
        (OSError("odd"), "no folder a/b, and the hub did not give it (OSError: odd)"),
    ],
)
def test_a_hub_that_gives_nothing(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    asked = []

    def refuse(name: str) -> str:
        asked.append(name)
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(CheckpointError) as raised:
        locate("a/b")
    assert str(raised.value).startswith(said)
    assert asked == ["a/b"]


def test_a_hub_name(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name: str(tiny))
    assert locate("someone/something") == tiny


def test_a_hub_model_of_another_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name: str(tmp_path))
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        locate("someone/something")


def test_identity_follows_the_weights(copy: Path, tiny: Path) -> None:
    assert identity(copy) == identity(tiny)
    before = identity(copy)
    (copy / "README.md").write_text("another card", "utf-8")
    assert identity(copy) == before
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert identity(copy) != before


# Whole folders or none -------------------------------------------------------------------


def content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text("utf-8") for p in folder.rglob("*.txt")}


def test_replacing_puts_a_folder_in_place_of_another(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with replacing(tmp_path / "x") as part:
            (part / "a.txt").write_text(text, "utf-8")
            assert "x/a.txt" not in content(tmp_path) or text == "two"
        assert content(tmp_path) == {"x/a.txt": text}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_replacing_leaves_the_old_folder_when_writing_fails(
    tmp_path: Path, error: BaseException
) -> None:
    with replacing(tmp_path / "x") as part:
        (part / "a.txt").write_text("old", "utf-8")

    def fail() -> None:
        with replacing(tmp_path / "x") as part:
            (part / "a.txt").write_text("ne", "utf-8")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert content(tmp_path) == {"x/a.txt": "old"}
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_replacing_puts_the_old_folder_back_when_the_new_one_cannot_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    with replacing(tmp_path / "x") as part:
        (part / "a.txt").write_text("old", "utf-8")
    move = os.replace

    def refuse(source: Path, target: Path) -> None:
        if str(source).endswith(".part"):
            raise OSError(5, "Input/output error")
        move(source, target)

    monkeypatch.setattr("os.replace", refuse)

    def fail() -> None:
        with replacing(tmp_path / "x") as part:
            (part / "a.txt").write_text("new", "utf-8")

    with pytest.raises(OSError, match="Input/output"):
        fail()
    assert content(tmp_path)["x/a.txt"] == "old"


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".x.part").mkdir()
    (tmp_path / ".x.part" / "half.txt").write_text("half", "utf-8")
    with replacing(tmp_path / "x") as part:
        (part / "a.txt").write_text("whole", "utf-8")
    assert content(tmp_path) == {"x/a.txt": "whole"}


def test_a_failed_save_leaves_the_old_checkpoint(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: SpanSALM = load(copy)
    before = identity(copy)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", refuse)
    with pytest.raises(OSError, match="No space"):
        save(model, copy, card="")
    monkeypatch.undo()
    assert identity(copy) == before
    assert same_weights(load(copy), model)
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]


def test_a_run_folder_is_taken_for_what_it_is(tmp_path: Path) -> None:
    model = tmp_path / "runs" / "2-all" / "model"
    model.mkdir(parents=True)
    (model / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"did you mean .*2-all/model\?"):
        locate(tmp_path / "runs")


def test_weights_in_eight_bits_are_read(lively: Path, tmp_path: Path) -> None:
    """As those of `mini`: the same model but for rounding, and adapters of the former fit."""
    from safetensors.torch import load_file, save_file

    from asr_llm.model import checkpoints
    from asr_llm.model.delta import encode

    folder = tmp_path / "small"
    shutil.copytree(lively, folder)
    for path in folder.glob("*.safetensors"):
        save_file(encode(load_file(path)), path, metadata={"format": "pt"})
    assert any(name.endswith(".int8") for name in load_file(folder / "model.safetensors"))
    ours, theirs = load(folder).state_dict(), load(lively).state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert (ours[name] - tensor).abs().max() <= tensor.abs().max() / 250, name
    before = checkpoints.identity(lively)
    assert not checkpoints.accepts(folder, before)
    (folder / "former.txt").write_text(f"{before}\n")
    assert checkpoints.accepts(folder, before)
    assert checkpoints.accepts(folder, checkpoints.identity(folder))
