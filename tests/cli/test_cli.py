"""The command line, as a user meets it: what it says when something is wrong, and how fast."""

from __future__ import annotations

import errno
import json
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file
from typer.testing import CliRunner

from asr_llm import __version__, cli
from asr_llm.corpus.domain.folder import create
from asr_llm.errors import DomainError, Interrupted, RunError, ScoreError
from asr_llm.evaluation.scores import general_wer_increase
from asr_llm.jobs import doctor

HEAVY = {"torch", "nemo", "transformers", "lightning", "lhotse", "spacy", "rich", "peft"}


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asr_llm.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


def modules_after(*arguments: object) -> set[str]:
    """Top-level modules that a command has imported by its end."""
    script = (
        "import sys\n"
        "from asr_llm.cli import main\n"
        f"sys.argv = {['asr-llm', *map(str, arguments)]!r}\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "print('modules:', *{name.split('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].removeprefix("modules: ").split())


def assert_refused(done: subprocess.CompletedProcess[str], *words: object, code: int = 2) -> None:
    """One or two clear lines on stderr, nothing on stdout."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert 1 <= len(lines) <= 2, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert str(word) in done.stderr


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create(tmp_path_factory.mktemp("domains") / "shop")


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 8000), 16000)
    return path


# Start-up ------------------------------------------------------------------------------


def test_help_is_quick_and_lists_every_command() -> None:
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = run("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.returncode == 0
    names = ["transcribe", "adapt", "pretrain", "evaluate", "export", "domain", "doctor", "cache"]
    assert all(f"\n  {name} " in done.stdout for name in names)
    assert min(taken) < 0.5  # seconds of a processor; about 0.2 on an idle machine


def test_help_imports_nothing_heavy() -> None:
    assert not HEAVY & modules_after("--help")


def test_domain_check_does_not_wait_for_torch(domain: Path) -> None:
    assert not HEAVY & modules_after("domain", "check", domain)


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"asr-llm {__version__}\n")


def test_telemetry_is_off() -> None:
    script = "import os, asr_llm; print(os.environ['HF_HUB_DISABLE_TELEMETRY'])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "1\n"


# Misuse --------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("sing",), ("adapt",), ("adapt", "x", "--steps", "0")])
def test_usage_errors(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_unknown_recipe_key_names_file_and_line(domain: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\nsources:\n  - {task: text, data: domain}\nstep: 10\n")
    done = run("adapt", domain, "--recipe", recipe, cwd=tmp_path)
    assert_refused(done, f"{recipe}:4: step: unknown key", "did you mean 'steps'?")
    assert not (tmp_path / "runs").exists()


def test_missing_recipe(tmp_path: Path) -> None:
    assert_refused(run("pretrain", tmp_path / "none.yaml"), "no recipe at")


def test_adapt_needs_a_domain_folder(tmp_path: Path) -> None:
    assert_refused(run("adapt", tmp_path / "nothing"), "asr-llm domain init")


def test_adapt_names_a_missing_model(domain: Path, tmp_path: Path) -> None:
    done = run("adapt", domain, "--model", tmp_path / "none", cwd=tmp_path)
    assert_refused(done, "no model at", "none")
    assert not (tmp_path / "runs").exists()


def test_a_name_that_is_nearly_a_model_is_recognised(wav: Path) -> None:
    assert_refused(run("transcribe", wav, "--model", "smal"), "no model at smal", "mean 'small'?")


def test_adapt_refuses_what_the_check_rejects_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = create(tmp_path / "shop")
    (folder / "terms" / "brand.tsv").write_text("Aurelia\n")
    done = run("adapt", folder, "--model", tmp_path / "none", cwd=tmp_path)
    assert_refused(done, "brand.tsv: no label for this file", f"asr-llm domain check {folder}")
    assert not (tmp_path / "runs").exists()


def test_a_wrong_general_set_is_named_by_its_option(domain: Path, tmp_path: Path) -> None:
    done = run("adapt", domain, "--model", "mini", "--general", "none", cwd=tmp_path)
    assert_refused(done, "--general none: not found; expected a domain folder or a manifest")
    assert "domain check" not in done.stderr
    empty = create(tmp_path / "empty")
    (empty / "templates.yaml").unlink()
    done = run("adapt", domain, "--model", "none", "--general", empty, cwd=tmp_path)
    assert_refused(done, f"--general {empty}: no test set; expected test/text.txt")


def test_a_used_run_folder_is_refused(domain: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).write_text("")
    (tmp_path / "runs" / "shop").mkdir(parents=True)
    (tmp_path / "runs" / "shop" / "recipe.yaml").write_text("name: text\n")
    done = run("adapt", domain, "--model", model, cwd=tmp_path)
    assert_refused(done, "runs/shop already holds a run", "--resume", "-o")


def test_adapt_refuses_a_recipe_that_creates_a_model(domain: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "new.yaml"
    recipe.write_text("create: model.yaml\nsources:\n  - {task: text, data: domain}\n")
    assert_refused(run("adapt", domain, "--recipe", recipe), "'create'", "asr-llm pretrain")


def test_missing_audio(tmp_path: Path) -> None:
    done = run("transcribe", tmp_path / "none.wav")
    assert_refused(done, "none.wav")


def test_each_bad_file_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "notes.mp3").write_text("these are no sounds")
    done = run("transcribe", tmp_path / "empty.wav", tmp_path / "notes.mp3", tmp_path / "no.wav")
    assert done.returncode == 2
    assert [line[:7] for line in done.stderr.splitlines()] == ["error: "] * 3


def test_transcribe_finds_nothing(tmp_path: Path) -> None:
    assert_refused(run("transcribe", tmp_path), tmp_path, "no audio in this folder", "--recursive")
    assert_refused(run("transcribe", tmp_path / "*.wav"), "*.wav", "no file matches this pattern")


def test_transcribe_keeps_the_users_files(wav: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.txt").write_text("mine")
    done = run("transcribe", wav, "-o", tmp_path)
    assert_refused(done, tmp_path / "noise.txt", "--overwrite")
    assert (tmp_path / "noise.txt").read_text() == "mine"


def test_transcribe_prints_one_format(wav: Path) -> None:
    assert_refused(run("transcribe", wav, "-f", "srt,vtt"), "srt, vtt", "-o DIR")


def test_transcribe_refuses_a_folder_that_is_no_adapter(wav: Path, tmp_path: Path) -> None:
    done = run("transcribe", wav, "--adapter", tmp_path)
    assert_refused(done, "is not an adapter", "adapter_config.json")
    (tmp_path / "domain.yaml").write_text("name: heart\n")
    done = run("transcribe", wav, "--adapter", tmp_path)
    assert_refused(done, "is a domain folder", f"asr-llm adapt {tmp_path}")


def test_a_weight_needs_an_adapter(wav: Path) -> None:
    for command in ("transcribe", "evaluate"):
        done = run(command, wav, "--fusion", "0.3")
        assert_refused(done, "--fusion is the weight of an adapter", "--adapter", "leave out")


def test_adapters_are_refused_before_the_model_is_loaded(wav: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}')
    save_file({"layer.lora_A.weight": np.ones((2, 4))}, adapter / "adapter_model.safetensors")
    done = run("transcribe", wav, "--adapter", adapter, "--adapter", adapter)
    assert_refused(done, f"{adapter} is given twice")
    done = run("transcribe", wav, "--adapter", adapter, "--adapter", tmp_path)
    assert_refused(done, f"did you mean {adapter}?")
    done = run("transcribe", wav, "--adapter", adapter, "--fusion", "0.3")
    assert_refused(done, "--fusion applies only to adapters trained on text")
    done = run("export", "--adapter", adapter, "-o", tmp_path / "m")
    assert_refused(done, "add --merge")


def test_overwrite_needs_a_folder(wav: Path) -> None:
    assert_refused(run("transcribe", wav, "--overwrite"), "--overwrite requires -o")


def test_biasing_lists_that_are_none_are_refused_at_once(wav: Path, tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty.txt", tmp_path / "binary.txt"
    empty.write_text("# nothing yet\n")
    binary.write_bytes(b"RIFF\xff\xfe")
    for command in ("transcribe", "evaluate"):
        done = run(command, wav, "--biasing-list", empty)
        assert_refused(done, "empty.txt: no phrases in it; expected a phrase on each line")
        assert_refused(run(command, wav, "--biasing-list", binary), "binary.txt:1: not UTF-8 text")
    assert_refused(run("transcribe", wav, "--bias", "?!"), "'?!', which has no letter or digit")
    done = run("transcribe", wav, "--bias", "uvula", "--biasing-strength", "-1")
    assert_refused(done, "found the biasing strength -1; expected a number from 0")
    done = run("transcribe", wav, "--biasing-strength", "2")
    assert_refused(done, "requires --biasing-list, --bias")


def test_transcribe_refuses_an_unknown_format(wav: Path) -> None:
    assert_refused(run("transcribe", wav, "-f", "doc"), "'doc'", "txt", "json")


def test_transcribe_refuses_to_write_two_files_to_one(wav: Path, tmp_path: Path) -> None:
    done = run("transcribe", wav, tmp_path / "noise.mp3", "-o", tmp_path / "out")
    assert_refused(done, "noise.txt")


@pytest.mark.parametrize("command", ["transcribe", "serve"])
@pytest.mark.parametrize(("flags", "shown"), [([], True), (["--no-first-pass"], False)])
def test_the_first_pass_can_be_left_out(
    wav: Path, monkeypatch: pytest.MonkeyPatch, command: str, flags: list[str], shown: bool
) -> None:
    from asr_llm.transcription.speech_llm import SpeechLLM

    seen: list[bool] = []

    def stop(first_pass: bool) -> None:
        seen.append(first_pass)
        raise RunError("that is all")

    def of(recogniser: Any, options: Any) -> None:
        stop(options.first_pass)

    monkeypatch.setattr(SpeechLLM, "of", of)
    given = {"transcribe": [wav], "serve": ["--port", 0]}[command]
    done = CliRunner().invoke(cli.app, [command, "--model", "mini", *map(str, given), *flags])
    assert "that is all" in done.stderr + str(done.exception), done.output
    assert seen == [shown]


def test_evaluate_needs_a_domain_or_a_manifest(tmp_path: Path, wav: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).write_text("")
    done = run("evaluate", tmp_path / "nothing.jsonl", "--model", model)
    assert_refused(done, "domain folder or a manifest")
    done = run("evaluate", tmp_path / "x", "--model", model, "--baseline", tmp_path)
    assert_refused(done, "--baseline", "--adapter")
    done = run("evaluate", tmp_path / "x", "--model", model, "-o", wav.parent)
    assert_refused(done, "not empty")


# Domains and cache ---------------------------------------------------------------------


def test_domain_init_then_check(tmp_path: Path) -> None:
    made = run("domain", "init", tmp_path / "mine")
    assert made.returncode == 0
    assert "asr-llm domain check" in made.stdout
    checked = run("domain", "check", tmp_path / "mine")
    assert checked.returncode == 0
    assert checked.stdout.endswith("0 errors, 0 warnings\n")
    assert checked.stderr == ""
    assert_refused(run("domain", "init", tmp_path / "mine"), "not empty")


def test_check_of_a_broken_domain_names_the_lines(tmp_path: Path) -> None:
    folder = create(tmp_path / "broken")
    with (folder / "domain.yaml").open("a") as file:
        file.write("nmae: twice\n")
    lines = (folder / "domain.yaml").read_text().count("\n")
    (folder / "terms" / "part.tsv").write_text("valve\nhose\tone\ttwo\n")
    done = run("domain", "check", folder)
    assert done.returncode == 1
    assert f"{folder}/domain.yaml:{lines}: error: nmae: unknown key" in done.stdout
    assert f"{folder}/terms/part.tsv:2: error: found 3 columns" in done.stdout
    report = json.loads(run("domain", "check", folder, "--json").stdout)
    assert {p["line"] for p in report["problems"] if p["severity"] == "error"} >= {2, lines}


def test_warnings_alone_are_no_failure(tmp_path: Path) -> None:
    folder = create(tmp_path / "warned")
    (folder / "entitties.jsonl").write_text("")
    done = run("domain", "check", folder)
    assert done.returncode == 0
    assert "warning: unknown name, ignored; did you mean 'entities.jsonl'?" in done.stdout


def test_check_needs_a_domain_folder(tmp_path: Path) -> None:
    assert_refused(run("domain", "check", tmp_path), "no domain.yaml", "asr-llm domain init")


def test_cache_list_and_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asr_llm.corpus.speech import cache

    monkeypatch.setenv("ASR_LLM_CACHE", str(tmp_path))
    (cache.folder("spoken") / "x.flac").write_bytes(b"1234")
    listed = run("cache", "list")
    assert listed.stdout == f"spoken\t1 file\t4 B\nin {tmp_path}\n"
    assert run("cache", "clear").stdout == "deleted spoken: 1 file, 4 B\n"
    assert not (tmp_path / "spoken").exists()
    assert_refused(run("cache", "clear", "songs"), "'songs'")


def test_an_invalid_value_is_explained_in_our_words() -> None:
    for given, words in (
        ("--beam-size=0", "found '0'; expected at least 1"),
        ("--vad=x", "'x' is not"),
    ):
        done = run("transcribe", "a.wav", given)
        assert (done.returncode, "Input should" in done.stderr) == (2, False)
        assert words in " ".join(done.stderr.split())


# What the user is told -----------------------------------------------------------------


def test_errors_are_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["asr-llm", "adapt", "my domain", "-o", "r"])
    again = "asr-llm adapt 'my domain' -o r --resume"
    assert cli.explain(RunError("no."), "adapt") == ("error: no.", 2)
    kept = cli.explain(Interrupted("training up to step 7"), "adapt")
    assert kept == (f"interrupted; kept: training up to step 7; continue with: {again}", 130)
    for stopped, when in (
        (Interrupted(None), "the first step was done"),
        (KeyboardInterrupt(), "training began"),
    ):
        message = f"interrupted before {when}; nothing was kept"
        assert cli.explain(stopped, "adapt") == (message, 130)
    assert cli.explain(KeyboardInterrupt(), "evaluate") == ("interrupted", 130)
    wrong = DomainError("my domain/text.txt:2: no.")
    assert cli.explain(wrong, "adapt") == ("error: my domain/text.txt:2: no.", 2)
    (tmp_path / "my domain").mkdir()
    (tmp_path / "my domain" / "domain.yaml").touch()
    monkeypatch.chdir(tmp_path)
    domain, status = cli.explain(wrong, "adapt")
    assert domain.endswith("with it:  asr-llm domain check 'my domain'")
    assert status == 2
    other = DomainError("--general other/text.txt:2: no.")
    assert "domain check" not in cli.explain(other, "adapt")[0]
    assert cli.explain(DomainError("See: asr-llm domain check x"), "adapt")[0].count("check") == 1
    full = OSError(errno.ENOSPC, "No space left on device", "/x")
    expected = f"error: No space left on device at /x; make room, then run: {again}"
    assert cli.explain(full, "adapt") == (expected, 2)
    monkeypatch.setattr(sys, "argv", ["asr-llm", "adapt", "d", "--resume"])
    going_on = "interrupted; continue with: asr-llm adapt d --resume"
    assert cli.explain(KeyboardInterrupt(), "adapt") == (going_on, 130)
    # What is in a folder of transcripts is not made again.
    for more, rest in ((["-o", "out"], "; continue with: asr-llm transcribe a -o out"), ([], "")):
        monkeypatch.setattr(sys, "argv", ["asr-llm", "transcribe", "a", *more])
        assert cli.explain(KeyboardInterrupt(), "transcribe") == (f"interrupted{rest}", 130)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = run("--debug", "adapt", tmp_path / "nothing")
    assert "Traceback" in done.stderr
    assert "DomainError" in done.stderr


def test_doctor_says_what_a_missing_part_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"k2", "numba"}
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in missing else "1.0")
    monkeypatch.setattr(doctor, "_device", lambda: "cpu")
    found = doctor.diagnose()
    assert {part.name for part in found.missing} == missing
    assert [part.optional for part in found.missing] == [False, True]
    numba = found.missing[0]
    assert str(numba) == "numba: missing; no word error rates without it. To install: pip " + (
        "install numba"
    )
    assert found.cores >= 1


def general(*rates: float) -> dict[str, Any]:
    systems = zip(("base", "adapted"), rates)
    return {"general": {name: {"wer": {"normalized": {"rate": r}}} for name, r in systems}}


@pytest.mark.parametrize(("allowed", "status"), [("1.9", 4), ("2.1", 0)])
def test_forgetting_beyond_what_is_allowed_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, allowed: str, status: int
) -> None:
    from typer.testing import CliRunner

    done = SimpleNamespace(scores=general(0.08, 0.1))
    monkeypatch.setattr("asr_llm.jobs.evaluate.evaluate", lambda *args, **kwargs: done)
    asked = ["evaluate", "x", "--adapter", "a", "--json", "--max-general-wer-increase", allowed]
    result = CliRunner().invoke(cli.app, asked)
    assert result.exit_code == status
    assert ("rose by 2.0 points; the limit is 1.9" in result.stderr) == (status == 4)


def test_the_forgetting_gate_by_hand() -> None:
    assert general_wer_increase(general(0.08, 0.1)) == pytest.approx(0.02)
    with pytest.raises(ScoreError, match="no general set"):
        general_wer_increase({"general": {}})
