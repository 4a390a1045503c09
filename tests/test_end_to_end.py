"""The main path through the real command line, on a tiny model: a folder in, an adapter out."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_llm.corpus.domain.folder import create
from asr_llm.corpus.speech.synthesis import synthesize
from asr_llm.sequences.sources import AsrSource, Folders
from asr_llm.sequences.tasks import Chat

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "speech"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "asr_llm.cli", *map(str, arguments)]


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=cwd, timeout=600)


@pytest.fixture(scope="module")
def base(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with general text to replay, as `mini` has it."""
    folder = tmp_path_factory.mktemp("base") / "model"
    shutil.copytree(tiny, folder)
    create(folder / "replay", "general")
    return folder


@pytest.fixture(scope="module")
def adapted(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A place with a domain and a finished run, and what the command printed."""
    place = tmp_path_factory.mktemp("place")
    create(place / "shop")
    done = run("adapt", "shop", "--model", base, "--steps", 3, cwd=place)
    assert done.returncode == 0, done.stderr
    return place, done.stdout


def test_adapt_prints_the_table_and_the_next_commands(adapted: tuple[Path, str]) -> None:
    _, printed = adapted
    for words in ("EER (raw)", "WER domain", "WER general", "base", "adapted", "change"):
        assert words in printed
    assert "The adapter is in runs/shop/adapter" in printed
    assert "asr-llm transcribe AUDIO" in printed
    assert "The report is in runs/shop/report.html" in printed


def test_adapt_writes_a_whole_run_folder(adapted: tuple[Path, str]) -> None:
    run_folder = adapted[0] / "runs" / "shop"
    for name in (
        "recipe.yaml",
        "metrics.jsonl",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "adapter/base.json",
        "adapter/biasing_list.txt",
        "hypotheses/base.domain.jsonl",
        "hypotheses/adapted.general.jsonl",
        "scores.json",
        "mentions.jsonl",
        "recordings.csv",
        "report.html",
    ):
        assert (run_folder / name).is_file(), name
    scores = json.loads((run_folder / "scores.json").read_text())
    assert set(scores["systems"]) == set(scores["general"]) == {"base", "adapted"}
    assert scores["systems"]["base"]["entities"]["raw"]["mentions"] > 0
    assert not list(run_folder.rglob("*.part"))


def test_evaluate_gives_the_same_figures(adapted: tuple[Path, str], base: Path) -> None:
    place, _ = adapted
    adapter = place / "runs" / "shop" / "adapter"
    done = run("evaluate", "shop", "--model", base, "--adapter", adapter, "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    before = json.loads((place / "runs" / "shop" / "scores.json").read_text())
    assert json.loads(done.stdout)["systems"] == before["systems"]


def test_the_weight_of_an_adapter_of_text(adapted: tuple[Path, str], base: Path) -> None:
    """Without any it changes nothing."""
    place, _ = adapted
    adapter = place / "runs" / "shop" / "adapter"
    asked = ["evaluate", "shop", "--model", base, "--adapter", adapter, "--json"]
    off = ("--fusion", 0, "--biasing-strength", 0)
    alone = run(*asked, *off, "--beam-size", 1, cwd=place)
    assert alone.returncode == 0, alone.stderr
    systems = json.loads(alone.stdout)["systems"]
    assert systems["adapted"] == systems["base"]


def test_two_adapters_are_measured_together(adapted: tuple[Path, str], base: Path) -> None:
    """What adapters of text prefer adds up: twice half of it is the whole."""
    place, _ = adapted
    adapter = place / "runs" / "shop" / "adapter"
    twin = shutil.copytree(adapter, place / "twin")
    texts = {}
    for name, given in (
        ("one", ["--adapter", adapter, "--fusion", 200]),
        ("two", ["--adapter", adapter, "--adapter", twin, "--fusion", 100]),
    ):
        done = run("evaluate", "shop", "--model", base, *given, "-o", name, cwd=place)
        assert done.returncode == 0, done.stderr
        for path in (place / name / "hypotheses").glob("*.domain.jsonl"):
            texts[name, path.name[:4]] = path.read_text("utf-8")
    assert texts["one", "adap"] == texts["two", "adap"] != texts["one", "base"]


def test_forgetting_can_fail_a_build(adapted: tuple[Path, str], base: Path) -> None:
    """A tiny model of random weights is wrong either way: a rise of 1e9 points is never reached."""
    place, _ = adapted
    adapter = place / "runs" / "shop" / "adapter"
    asked = ["evaluate", "shop", "--model", base, "--adapter", adapter]
    gate = "--max-general-wer-increase"
    assert run(*asked, gate, "1e9", cwd=place).returncode == 0
    refused = run(*asked[:-2], gate, "1", cwd=place)
    assert refused.returncode == 2
    assert "--max-general-wer-increase compares an adapter with its base" in refused.stderr


def test_a_finished_run_is_refused_and_on_resume_only_scored(
    adapted: tuple[Path, str], base: Path
) -> None:
    place, printed = adapted
    again = ("adapt", "shop", "--model", base, "--steps", 3)
    refused = run(*again, cwd=place)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    weights = place / "runs" / "shop" / "adapter" / "adapter_model.safetensors"
    written = weights.stat().st_mtime_ns
    # What was asked for when it began need not be said again.
    assert run("adapt", "shop", "--resume", cwd=place).stdout == printed
    assert weights.stat().st_mtime_ns == written


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_can_go_on(base: Path, tmp_path: Path, asked: signal.Signals) -> None:
    create(tmp_path / "shop")
    recipe = tmp_path / "short.yaml"
    recipe.write_text(
        "name: short\nsteps: 400\nbatch_positions: 300\ncheckpoint_every: 390\nsources:\n"
        "  - {task: text, data: domain}\n  - {task: asr, data: replay}\n"
    )
    arguments = ("adapt", "shop", "--model", base, "--recipe", recipe)
    process = subprocess.Popen(command(*arguments), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    shop = tmp_path / "runs" / "shop"
    for _ in range(3000):  # five minutes, on a busy machine
        if (shop / "metrics.jsonl").is_file() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(asked)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "interrupted; kept: training up to step " in errors
    assert errors.strip().endswith("--resume")
    assert (shop / "checkpoints" / "last.ckpt").is_file()


def test_an_adapter_of_another_base_is_refused(adapted: tuple[Path, str], other_tiny: Path) -> None:
    place, _ = adapted
    soundfile.write(place / "a.wav", synthesize("Hello there.", "en-us").samples, 16000)
    adapter = place / "runs" / "shop" / "adapter"
    done = run("transcribe", "a.wav", "--model", other_tiny, "--adapter", adapter, cwd=place)
    assert done.returncode == 2
    assert "was trained on" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# Audio of every kind -----------------------------------------------------------------


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return synthesize("The early train was late again on Monday.", "en-us").samples


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2)])
def test_any_format_rate_and_channels(
    base: Path, speech: np.ndarray, tmp_path: Path, suffix: str, rate: int, channels: int
) -> None:
    if (rate, suffix) == (44100, "flac"):
        channels = 6
    import soxr

    path = tmp_path / f"talk.{suffix}"
    samples = soxr.resample(speech, 16000, rate) if rate != 16000 else speech
    soundfile.write(path, np.stack([samples] * channels, 1), rate)
    from asr_llm.corpus.recordings.audio import load_audio

    loaded = load_audio(path)
    assert loaded.dtype == np.float32
    assert abs(len(loaded) - len(speech)) < 1600  # mp3 pads


@pytest.mark.parametrize("beams", [1, 4])
def test_a_word_that_must_be_heard(
    tiny: Path, speech: np.ndarray, tmp_path: Path, beams: int
) -> None:
    """With such a strength the model writes nothing else, over and over, and the loop is cut."""
    soundfile.write(tmp_path / "a.wav", speech, 16000)
    (tmp_path / "trans.txt").write_text("a.wav\tTwo zebras, one zebra.\n")
    (tmp_path / "words.tsv").write_text("# animals\nzebra\tzee bra\n")
    options = ("--model", tiny, "--beam-size", beams, "--biasing-strength", "1000")
    done = run("transcribe", "a.wav", *options, "--bias", "zebra", cwd=tmp_path)
    assert (done.returncode, done.stdout.lower()) == (0, "zebra\n"), done.stderr
    listed = ("--biasing-list", "words.tsv", "--json")
    done = run("evaluate", "trans.txt", *options, *listed, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)["systems"]["base"]
    assert scores["biasing"]["b_wer"]["errors"] == 0
    assert scores["biasing"]["u_wer"]["errors"] == 3


def test_odd_files_in_one_batch(base: Path, speech: np.ndarray, tmp_path: Path) -> None:
    """Missing, empty, corrupt, no audio, silent, 0.05 s: a line each; the good one is written."""
    soundfile.write(tmp_path / "good.wav", speech, 16000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(32000, np.float32), 16000)
    soundfile.write(tmp_path / "short.wav", speech[:800], 16000)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.mp3").write_text("not audio at all")
    soundfile.write(tmp_path / "cut.flac", speech, 16000)
    whole = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[:60])
    names = ["good", "silent", "short", "empty", "text", "cut", "missing"]
    files = [next((p.name for p in tmp_path.glob(f"{name}.*")), "missing.wav") for name in names]
    done = run("transcribe", *files, "--model", base, "-f", "json", "-o", "out", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    written = {path.stem for path in (tmp_path / "out").iterdir()}
    assert {"good", "silent", "short"} <= written
    assert not {"empty", "text", "missing"} & written
    assert "Traceback" not in done.stderr
    for name in ("empty.wav", "text.mp3", "missing.wav"):
        assert sum(name in line for line in done.stderr.splitlines()) == 1
    silent = json.loads((tmp_path / "out" / "silent.json").read_text())
    assert silent["text"] == ""
    assert silent["note"]


@pytest.mark.slow
def test_an_hour_is_transcribed_in_pieces(base: Path, speech: np.ndarray, tmp_path: Path) -> None:
    repeats = 3600 * 16000 // len(speech) + 1
    soundfile.write(tmp_path / "hour.flac", np.tile(speech, repeats), 16000)
    done = run("transcribe", "hour.flac", "--model", base, "-f", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["duration"] >= 3600


def test_real_recordings(tmp_path: Path) -> None:
    """`mini` on real speech: a word error rate, not only that it runs."""
    manifest = SHARED / "librispeech-dev-clean" / "manifest.jsonl"
    if not manifest.is_file():
        pytest.skip("no real recordings here (../shared/data)")
    import jiwer

    from asr_llm.corpus.text.normalizers import normalize

    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    rows = [r for r in rows if r["speaker"] == "1462" and 3 < r["duration"] < 7][:8]
    files = [manifest.parent / row["audio_filepath"] for row in rows]
    done = run("transcribe", *files, "-f", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    heard = [json.loads(line)["text"] for line in done.stdout.splitlines()]
    assert len(heard) == len(rows) == 8
    rate = jiwer.wer(
        [row["text"] for row in rows], [normalize(text, "basic") or "-" for text in heard]
    )
    assert rate < 1.0, heard  # better than silence; the card states how good


# Other recipes ---------------------------------------------------------------------------


def test_adapt_to_recordings(tmp_path: Path, speech: np.ndarray) -> None:
    """Without word times and text: aligned by `mini`'s own head, a long one cut between words."""
    train = tmp_path / "shop" / "train"
    train.mkdir(parents=True)
    (tmp_path / "shop" / "domain.yaml").write_text("name: shop\n", "utf-8")
    rows = []
    for i, text in enumerate(["The kettle is on.", "We sell tea and coffee.", "Come back soon."]):
        soundfile.write(train / f"{i}.wav", synthesize(text, "en-us").samples, 16000)
        rows.append(f"{i}.wav\t{text}")
    soundfile.write(train / "wrong.wav", synthesize("Good morning.", "en-us").samples, 16000)
    rows.append("wrong.wav\tNobody ever climbed that enormous mountain in a day.")
    sentence = "We bought some bread, butter and jam for breakfast."
    once = np.append(synthesize(sentence, "en-us").samples, np.zeros(8000, np.float32))
    times = 30 * 16000 // len(once)
    soundfile.write(train / "long.wav", np.tile(once, times), 16000)
    rows.append("long.wav\t" + " ".join([sentence] * times))
    (train / "trans.txt").write_text("\n".join(rows) + "\n", "utf-8")
    recipe = Path(__file__).parents[1] / "adapt" / "paired.yaml"
    done = run("adapt", "shop", "--recipe", recipe, "--steps", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if not line.startswith("aligning: ")]
    assert any(line.startswith("left out wrong: ") for line in told)
    assert told[0] == "the domain has 2 warnings; see: asr-llm domain check shop"
    assert "has no test set" in done.stdout
    assert (tmp_path / "runs" / "shop" / "adapter" / "adapter_model.safetensors").is_file()
    aligned = tmp_path / "runs" / "shop" / "alignment" / "train.jsonl.gz"
    source = AsrSource(data=str(aligned))
    examples = source.examples(Chat("<u>", "</u><a>", "</a>"), Folders())
    assert examples is not None
    assert (examples.count > 4, examples.left_out) == (True, frozenset())


def test_transcripts_of_recordings_are_training_text(
    base: Path, tmp_path: Path, speech: np.ndarray
) -> None:
    """The default recipe, where nothing is written but transcripts."""
    for split in ("train", "dev"):
        folder = tmp_path / "shop" / split
        folder.mkdir(parents=True)
        soundfile.write(folder / "a.wav", speech, 16000)
        (folder / "trans.txt").write_text(f"a.wav\tGood morning, {split}.\n", "utf-8")
    (tmp_path / "shop" / "domain.yaml").write_text("name: shop\n", "utf-8")
    done = run("adapt", "shop", "--model", base, "--steps", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = (tmp_path / "runs" / "shop" / "metrics.jsonl").read_text("utf-8")
    assert "val_loss" in metrics


def test_recordings_that_cannot_be_aligned_say_what_to_do(
    base: Path, tmp_path: Path, speech: np.ndarray
) -> None:
    """The tiny model has no CTC head."""
    train = tmp_path / "shop" / "train"
    train.mkdir(parents=True)
    (tmp_path / "shop" / "domain.yaml").write_text("name: shop\n", "utf-8")
    soundfile.write(train / "a.wav", speech, 16000)
    (train / "trans.txt").write_text("a.wav\tGood morning.\n", "utf-8")
    recipe = Path(__file__).parents[1] / "adapt" / "paired.yaml"
    done = run("adapt", "shop", "--recipe", recipe, "--model", base, cwd=tmp_path)
    assert done.returncode == 2
    assert "asr-llm align shop/train/trans.txt --model CTC.nemo" in done.stderr
    assert not (tmp_path / "runs" / "shop" / "recipe.yaml").exists()


def test_pretraining_in_stages(base: Path, tmp_path: Path) -> None:
    recipe = (Path(__file__).parents[1] / "adapt" / "jstip.yaml").read_text("utf-8")
    short = recipe.replace("model: mini", f"model: {base}").replace("steps: 2000", "steps: 2")
    (tmp_path / "j.yaml").write_text(short.replace("steps: 200\n", "steps: 1\n"), "utf-8")
    done = run("pretrain", "j.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The model is in runs/jstip/2-all/model\n"
    again = run("pretrain", "j.yaml", "--resume", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    refused = run("pretrain", "j.yaml", cwd=tmp_path)
    assert refused.returncode == 2
    assert "already holds a run" in refused.stderr
    assert run("adapt", "x", "--recipe", "j.yaml", cwd=tmp_path).returncode == 2


def test_mini_learns_to_answer_speech_as_it_answers_text(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(
        "The dog sat by the old door.\nShe went to the market on Monday.\n"
        "We had tea with the doctor.\nHe lost the key of the red house.\n",
        "utf-8",
    )
    (tmp_path / "i.yaml").write_text(
        "name: i\nmodel: mini\ntrain: [projector]\nsteps: 2\nbatch_positions: 300\n"
        "sources:\n- task: imitate\n  data: t.txt\n  voices: [en-us]\n  each: 3\n  kl: 0.5\n"
        "  interleaved: 0.5\n  answer: {max_tokens: 12, temperature: 1.5}\n",
        "utf-8",
    )
    done = run("pretrain", "i.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The model is in runs/i/model\n"
    (record,) = json.loads((tmp_path / "runs" / "i" / "answers.json").read_text("utf-8"))
    assert sum(record["asked"].values()) == 12
    assert f"kept {record['share']:.0%} of the teacher's answers" in done.stderr


def test_questions_from_the_command_line(base: Path, tmp_path: Path, speech: np.ndarray) -> None:
    soundfile.write(tmp_path / "a.wav", speech, 16000)
    asked = run("ask", "a.wav", "--question", "Who speaks?", "--model", base, cwd=tmp_path)
    assert asked.returncode == 0, asked.stderr
    (tmp_path / "q.jsonl").write_text('{"question": "Who?", "answer": "Ann"}\n', "utf-8")
    done = run("qa", "q.jsonl", "--model", base, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [word in done.stdout for word in ("text", "speech", "gap")] == [True] * 3


def test_instructions_from_the_command_line(base: Path, tmp_path: Path) -> None:
    (tmp_path / "i.jsonl").write_text(
        '{"prompt": "Shout.", "instruction_id_list": ["change_case:english_capital"]}\n', "utf-8"
    )
    told = ("instruct", "i.jsonl", "--model", base, "--variant", "noisy")
    done = run(*told, "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [word in done.stdout for word in ("noisy", "text", "speech", "gap")] == [True] * 4
    assert json.loads(run(*told, "--json", cwd=tmp_path).stdout) == json.loads(
        (tmp_path / "out" / "scores.json").read_text()
    )
    refused = run("instruct", "i.jsonl", "--variant", "loud", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "unknown variant 'loud'" in refused.stderr


@pytest.mark.slow
def test_recipes_are_compared(base: Path, tmp_path: Path) -> None:
    """Two rows, two seeds; the second time the figures are only read."""
    create(tmp_path / "shop")
    rows = ["ASR only", "ASR + domain text"]
    script = Path(__file__).parents[1] / "adapt" / "compare.py"
    asked = ["shop", "--rows", *rows, "--seeds", "1", "2", "--steps", "1", "--model", str(base)]
    asked += ["--record", "record.jsonl"]
    printed = []
    for out in ("runs", "elsewhere"):  # the second time from the record alone
        asked += ["--out", out]
        done = subprocess.run(
            [sys.executable, script, *asked], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert not (tmp_path / "elsewhere").exists()
    table = printed[0].split("\n\n")[1].splitlines()
    assert [line.split(" | ")[0] for line in table] == [
        "| recipe", "|---|---|---|---|---|---|---|---|", "| base", *(f"| {row}" for row in rows)
    ]  # fmt: skip
    assert all(line.count(" | ") == 7 for line in table[2:])
