"""Several adapters on one base: what they do together, and that swapping leaves no trace."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding.fusion import Fusion
from asr_llm.decoding.generate import generate
from asr_llm.decoding.prompts import collator, end_token, inference, prompt, splice
from asr_llm.errors import CheckpointError
from asr_llm.model import checkpoints, lora
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.model.adapters import Adapters, fusion_weights, names_of
from asr_llm.model.int8 import RowwiseLinear
from asr_llm.recipe import LoraRecipe

if TYPE_CHECKING:
    from torch import Tensor

    from asr_llm.model.salm import SpanSALM

AUDIOS = [
    np.random.default_rng(i).normal(0, 0.1, n).astype("float32")
    for i, n in enumerate((16000, 9000))
]
SPEECH, TEXT = ("legal", "medical"), ("letters", "notes")


def make(
    base: Path,
    folder: Path,
    seed: int,
    fusion: float | None = None,
    projector: bool = False,
    biasing: BiasingList | None = None,
) -> Path:
    """A random adapter that does something."""
    import torch

    model = checkpoints.load(base)
    torch.manual_seed(seed)
    lora.install(model, LoraRecipe(r=2 + seed, lora_alpha=8))
    for name, parameter in model.named_parameters():
        if "lora_B" in name or (projector and "perception.proj" in name):
            parameter.data.normal_(0, 1.0)
    lora.save(model, folder, base, projector, fusion, biasing)
    return folder


@pytest.fixture(scope="module")
def saved(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two of speech, the second with a projector, and two of text; in run folders. Read only."""
    runs = tmp_path_factory.mktemp("runs")
    return {
        "legal": make(tiny, runs / "legal" / "adapter", 1),
        "medical": make(tiny, runs / "medical" / "adapter", 2, projector=True),
        "letters": make(tiny, runs / "letters" / "adapter", 3, fusion=3.0),
        "notes": make(tiny, runs / "notes" / "adapter", 4, fusion=5.0),
    }


Loaded = tuple["SpanSALM", dict[str, float]]
"""A model with adapters on it, and the weights of those of text."""


def fresh(tiny: Path, saved: dict[str, Path], names: Sequence[str]) -> Loaded:
    model = checkpoints.load(tiny)
    if not names:
        return model, {}
    return model, Adapters(model, tiny, [saved[name] for name in names]).fusion()


def heard(loaded: Loaded, beams: int) -> list[list[int]]:
    model, fusion = loaded
    with inference(model):
        processors = [Fusion(model, fusion, end_token(model))] if fusion else []
        spliced = splice(model, [prompt(audio, model.chat) for audio in AUDIOS])
        found = generate(model, spliced, [10, 10], beams, processors)
    return [list(one.ids) for one in found]


def said(model: SpanSALM) -> Tensor:
    """What the recogniser alone, adapters of text aside, makes of some tokens and of speech."""
    import torch

    batch = collator(model)([prompt(audio, model.chat) for audio in AUDIOS])
    with torch.no_grad():
        spliced = model.splice(batch)
        hidden = model.hidden_states(spliced.input_embeds, spliced.attention_mask)
        logits: Tensor = model.causal_lm.lm_head(hidden)
    return logits


def assert_same(one: Loaded, two: Loaded) -> None:
    assert said(one[0]).equal(said(two[0]))
    assert [heard(one, beams) for beams in (1, 3)] == [heard(two, beams) for beams in (1, 3)]


# Swapping --------------------------------------------------------------------------------


def test_after_any_swap_it_is_as_if_loaded_afresh(tiny: Path, saved: dict[str, Path]) -> None:
    model = checkpoints.load(tiny)
    adapters = Adapters(model, tiny, list(saved.values()))
    assert adapters.names == adapters.in_use == (*SPEECH, *TEXT)
    orders: list[tuple[str, ...]] = [
        (*SPEECH, *TEXT),
        ("legal",),
        ("medical",),
        (),
        ("legal",),
        SPEECH,
        ("notes",),
        ("medical", "notes"),
        TEXT,
        ("letters",),
        ("legal",),
        (),
    ]
    seen: dict[str, tuple[str, ...]] = {}
    for names in orders:
        adapters.use(*reversed(names))
        assert adapters.in_use == names
        loaded = model, adapters.fusion()
        assert_same(loaded, fresh(tiny, saved, names))
        assert seen.setdefault(str(heard(loaded, 1)), names) == names  # they do differ


def test_the_base_comes_back_bit_by_bit(tiny: Path, saved: dict[str, Path]) -> None:
    model, base = checkpoints.load(tiny), checkpoints.load(tiny)
    before = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    adapters = Adapters(model, tiny, list(saved.values()))
    for names in (SPEECH, ("medical", "notes"), TEXT, ()):
        adapters.use(*names)
        heard((model, adapters.fusion()), 2)
    own, expected = model.state_dict(), base.state_dict()
    assert own.keys() == expected.keys()
    assert all(own[name].equal(expected[name]) for name in expected)
    assert {name: p.data_ptr() for name, p in model.named_parameters()} == before
    assert type(model.llm) is type(base.llm)


def test_merged_adapters_leave_no_layer_behind(tiny: Path, saved: dict[str, Path]) -> None:
    """PEFT's layers cost time; they are there for those of text alone."""
    model, fusion = fresh(tiny, saved, SPEECH)
    assert not any("lora" in name or "base_layer" in name for name in model.state_dict())
    assert fusion == {}


# What several do together ----------------------------------------------------------------


def test_the_changes_of_adapters_of_speech_add_up(tiny: Path, saved: dict[str, Path]) -> None:
    import torch
    from safetensors.torch import load_file

    (model, _), base = fresh(tiny, saved, SPEECH), checkpoints.load(tiny)
    layer = "model.layers.0.self_attn.q_proj.weight"
    weight = base.llm.state_dict()[layer].clone()
    for name, r in zip(SPEECH, (3, 4)):  # rank: 2 and its seed
        matrices = load_file(saved[name] / "adapter_model.safetensors")
        stem = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
        weight += 8 / r * matrices[f"{stem}B.weight"] @ matrices[f"{stem}A.weight"]
    assert torch.allclose(model.llm.state_dict()[layer], weight, atol=1e-5)


def test_the_projectors_of_several_add_up(tiny: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folders = [make(tiny, tmp_path / name, i, projector=True) for i, name in enumerate("ab")]
    model, base = checkpoints.load(tiny), checkpoints.load(tiny)
    adapters = Adapters(model, tiny, folders)
    a, b = (load_file(folder / "projector.safetensors")["weight"] for folder in folders)
    own = base.perception.proj.weight
    assert torch.allclose(model.perception.proj.weight, a + b - own, atol=1e-5)
    adapters.use("b")
    assert model.perception.proj.weight.equal(b)
    adapters.use()
    assert model.perception.proj.weight.equal(own)


def test_a_weight_is_for_adapters_of_text(tiny: Path, saved: dict[str, Path]) -> None:
    folders = [saved["legal"], saved["letters"], saved["notes"]]
    assert fusion_weights(folders) == [None, 3.0, 5.0]
    assert fusion_weights(folders, 0.25) == [None, 0.25, 0.25]
    model = checkpoints.load(tiny)
    adapters = Adapters(model, tiny, folders)
    assert list(adapters.fusion(0.25).values()) == [0.25, 0.25]
    adapters.use("notes")
    assert list(adapters.fusion(0.25).values()) == [0.25]
    with pytest.raises(
        CheckpointError, match=r"trained on text; .*legal/adapter was trained on sp"
    ):
        fusion_weights([saved["legal"], saved["medical"]], 0.25)


def test_names() -> None:
    folders = ["runs/legal/adapter", "b/legal/adapter", "old/v1.2", "x/adapter/", "legal"]
    assert names_of(folders) == ["legal", "legal-2", "v1.2", "x", "legal-3"]


def test_a_name_with_a_dot(tiny: Path, saved: dict[str, Path], tmp_path: Path) -> None:
    """PEFT calls no adapter so."""
    folder = Path(shutil.copytree(saved["notes"], tmp_path / "model.v1.2"))
    model = checkpoints.load(tiny)
    adapters = Adapters(model, tiny, [folder])
    assert adapters.names == ("model.v1.2",)
    assert_same((model, adapters.fusion()), fresh(tiny, saved, ["notes"]))


# What is refused -------------------------------------------------------------------------


def test_unknown_and_repeated_names(tiny: Path, saved: dict[str, Path]) -> None:
    model = checkpoints.load(tiny)
    adapters = Adapters(model, tiny, [saved["legal"], saved["notes"]])
    with pytest.raises(CheckpointError) as caught:
        adapters.use("notes", "dental")
    assert str(caught.value) == ("no adapter 'dental' was loaded; expected some of legal, notes")
    with pytest.raises(CheckpointError, match="'notes' is named twice; expected it only once"):
        adapters.use("notes", "notes")
    assert adapters.in_use == ("legal", "notes")


def test_a_folder_given_twice(saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved["legal"]
    with pytest.raises(CheckpointError, match="is given twice; expected each adapter only once"):
        fusion_weights([folder, folder])
    monkeypatch.chdir(folder.parent)
    with pytest.raises(CheckpointError, match=r"adapter is /.*/adapter again; expected each"):
        fusion_weights([folder, "adapter"])


def test_an_adapter_of_another_base_beside_one_that_fits(
    tiny: Path, other_tiny: Path, saved: dict[str, Path], tmp_path: Path
) -> None:
    other = make(other_tiny, tmp_path / "other", 1)
    with pytest.raises(CheckpointError, match=r"other was trained on .*, not on"):
        Adapters(checkpoints.load(tiny), tiny, [saved["legal"], other])


def test_an_adapter_of_another_shape_beside_one_that_fits(
    tiny: Path, saved: dict[str, Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(saved["medical"], tmp_path / "copy"))
    config = json.loads((copy / "adapter_config.json").read_text("utf-8")) | {"r": 3}
    (copy / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(CheckpointError, match=r"copy does not fit .*: RuntimeError: "):
        Adapters(checkpoints.load(tiny), tiny, [saved["legal"], copy])


def test_a_projector_of_another_shape(tiny: Path, saved: dict[str, Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    copy = Path(shutil.copytree(saved["medical"], tmp_path / "copy"))
    save_file({"weight": torch.zeros(2, 2)}, copy / "projector.safetensors")
    with pytest.raises(CheckpointError, match=r"projector\.safetensors holds \{'weight': \(2, 2\)"):
        Adapters(checkpoints.load(tiny), tiny, [copy])


def test_weights_that_are_no_numbers(tiny: Path, saved: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(saved["legal"], tmp_path / "copy"))
    weights = load_file(copy / "adapter_model.safetensors")
    next(v for k, v in weights.items() if "lora_B" in k)[0] = float("nan")
    save_file(weights, copy / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="contains NaN or Inf"):
        Adapters(checkpoints.load(tiny), tiny, [copy])


def test_an_adapter_that_changes_the_base_itself(tiny: Path, tmp_path: Path) -> None:
    """As PEFT alone may write it: it could not be taken off again."""
    from nemo.collections.speechlm2.parts.pretrained import move_embedding
    from peft import LoraConfig, get_peft_model

    model = checkpoints.load(tiny)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=2, target_modules=["q_proj"], modules_to_save=["norm"]
    )
    with move_embedding(model):
        model.llm = get_peft_model(model.llm, config)
        model.llm.save_pretrained(tmp_path / "foreign")
    with pytest.raises(CheckpointError, match=r"norm\.weight too; expected LoRA's own matrices"):
        Adapters(checkpoints.load(tiny), tiny, [tmp_path / "foreign"])


# Lists that adapters bring ---------------------------------------------------------------


def test_a_list_comes_with_the_adapters_in_use(
    tiny: Path, saved: dict[str, Path], tmp_path: Path
) -> None:
    drugs, courts = BiasingList(("sotalol", "uvula"), 2.0), BiasingList(("res judicata",), 3.0)
    folders = [
        make(tiny, tmp_path / "drugs", 1, biasing=drugs),
        make(tiny, tmp_path / "courts", 2, fusion=0.5, biasing=courts),
        saved["legal"],
    ]
    assert (folders[0] / "biasing_list.txt").read_text("utf-8") == "sotalol\nuvula\n"
    assert "The 2 terms in `biasing_list.txt`" in (folders[0] / "README.md").read_text("utf-8")
    assert [AdapterFolder.read(folder).biasing for folder in folders] == [drugs, courts, None]
    adapters = Adapters(checkpoints.load(tiny), tiny, folders)
    assert adapters.biasing == [drugs, courts]
    adapters.use("courts")
    assert adapters.biasing == [courts]
    adapters.use()
    assert adapters.biasing == []


def test_an_adapter_is_read_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many look at it on its way from the command line to the decoder."""
    import soundfile

    from asr_llm.jobs.destinations import Wanted
    from asr_llm.jobs.transcribe import transcribe
    from asr_llm.transcription.options import Recogniser, TranscribeOptions

    make(tiny, tmp_path / "a", 1, biasing=BiasingList(("uvula",), 2.0))
    soundfile.write(tmp_path / "a.wav", AUDIOS[0], 16000)
    read: list[str] = []
    read_text = Path.read_text

    def spy(self: Path, *options: object) -> str:
        read.append(self.name)
        return read_text(self, *options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", spy)
    recogniser = Recogniser(str(tiny), AdapterFolder.read_all([tmp_path / "a"]))
    options, wanted = TranscribeOptions(vad="energy"), Wanted(formats=("json",))
    (done,) = transcribe([tmp_path / "a.wav"], wanted, options, recogniser)
    assert json.loads(done.printed)["adapter"]["sha256"] == recogniser.adapters[0].sha256
    assert read.count("base.json") == 1


@pytest.mark.parametrize(("fusion", "in_8_bits"), [(0.5, True), (None, False)])
def test_8_bits_beside_adapters(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fusion: float | None,
    in_8_bits: bool,
) -> None:
    """Adapters of text are fused with an LLM in 8 bits; those of speech are merged in full."""
    from asr_llm.transcription.options import Recogniser, TranscribeOptions
    from asr_llm.transcription.speech_llm import SpeechLLM

    monkeypatch.setattr("asr_llm.model.int8._NARROW", 4)  # but not LoRA's three
    folder = AdapterFolder.read(make(tiny, tmp_path / "a", 1, fusion=fusion))
    options = TranscribeOptions(num_beams=2, max_new_tokens=5)
    loaded = SpeechLLM.of(Recogniser(str(tiny), (folder,), compute_type="int8"), options)
    layers = loaded.model.llm.modules()
    assert any(isinstance(layer, RowwiseLinear) for layer in layers) is in_8_bits
    decoder = loaded.pipeline.decoder
    both = [decoder.decode(AUDIOS, replace(options, adapters=n)) for n in ((), ("a",))]
    assert [decoder.decode(AUDIOS, replace(options, adapters=()))] == both[:1]


def test_a_list_is_part_of_an_adapters_identity(tiny: Path, tmp_path: Path) -> None:
    folder = make(tiny, tmp_path / "a", 1, biasing=BiasingList(("uvula",), 2.0))
    before = AdapterFolder.read(folder).sha256
    (folder / "biasing_list.txt").write_text("sotalol\n", "utf-8")
    assert AdapterFolder.read(folder).sha256 != before


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "biasing_list.txt",
            b"",
            r"own list: .*biasing_list\.txt: no phrases.*copy it again",
        ),
        ("biasing_list.txt", b"caf\xe9\n", r"own list: .*biasing_list\.txt:1: .*UTF-8"),
        ("base.json", b'{"name": "m", "sha256": "0", "biasing": "much"}', "the numbers 'fusion'"),
        (
            "base.json",
            b'{"name": "m", "sha256": "0", "biasing": -1}',
            r"base\.json .*'biasing' is -1",
        ),
        (
            "base.json",
            b'{"name": "m", "sha256": "0", "biasing": NaN}',
            r"base\.json .*'biasing' is NaN",
        ),
        (
            "biasing_list.txt",
            None,
            r"No such file.*copy it again.*'biasing' to null in .*base\.json",
        ),
    ],
)
def test_lists_that_cannot_be_read(
    tiny: Path, tmp_path: Path, file: str, content: bytes | None, message: str
) -> None:
    folder = make(tiny, tmp_path / "a", 1, biasing=BiasingList(("uvula",), 2.0))
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        AdapterFolder.read(folder)
