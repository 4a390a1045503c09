"""`asr-llm score` on files of other recognisers, through the real command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from asr_llm.cli import app
from asr_llm.errors import RunError, ScoreError
from asr_llm.jobs.score import Options, score_files

REFERENCE = [
    {"id": "a", "text": "He takes Lipitor.", "speaker": "ann"},
    {"id": "b", "text": "She takes aspirin.", "speaker": "bob"},
]


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asr_llm.cli", "score", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ref.jsonl").write_text("\n".join(map(json.dumps, REFERENCE)), "utf-8")
    (tmp_path / "one.trn").write_text("he takes lip itor (a)\nshe takes aspirin (b)\n", "utf-8")
    (tmp_path / "two.tsv").write_text("a\tHe takes Lipitor.\nb\tShe takes aspirin.\n", "utf-8")
    (tmp_path / "terms").mkdir()
    (tmp_path / "terms" / "drug.tsv").write_text("Lipitor\naspirin\tass pirin\n", "utf-8")
    return tmp_path


def test_two_systems_in_two_formats(folder: Path) -> None:
    asked = ["--reference", "ref.jsonl", "--hypothesis", "one.trn", "--hypothesis", "good=two.tsv"]
    done = run(*asked, "--entities", "terms", "-o", "out", "--report", "r.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "EER (raw) DRUG" in done.stdout
    assert "warning: 2 speakers" in done.stderr
    scores = json.loads((folder / "out" / "scores.json").read_text("utf-8"))
    assert list(scores["systems"]) == ["one", "good"]
    assert scores["systems"]["one"]["entities"]["raw"]["found"] == 1
    assert scores["systems"]["good"]["wer"]["raw"]["errors"] == 0
    assert scores["comparison"]["eer"]["difference"] == -0.5
    assert "ref.jsonl: one and good" in (folder / "r.html").read_text("utf-8")
    rows = [json.loads(x) for x in (folder / "out" / "mentions.jsonl").open()]
    assert [(row["system"], row["raw"]) for row in rows] == [
        ("one", "missed"), ("one", "found"), ("good", "found"), ("good", "found")
    ]  # fmt: skip
    again = run(*asked, "-o", "out", cwd=folder)
    assert again.returncode == 2
    assert "not empty" in again.stderr


def test_ids_that_do_not_match(folder: Path) -> None:
    (folder / "part.tsv").write_text("a\tHe takes Lipitor.\nc\tWhat?\n", "utf-8")
    with pytest.raises(
        ScoreError, match=r"no hypothesis for 1 utterance \(b\); no reference for 1"
    ):
        score_files(folder / "ref.jsonl", {"part": folder / "part.tsv"})
    options = Options(allow_missing=True)
    scores = score_files(folder / "ref.jsonl", {"part": folder / "part.tsv"}, options).scores
    assert scores["systems"]["part"]["wer"]["raw"]["deletions"] == 3
    assert "no hypothesis for 1 utterance (b)" in scores["warnings"][-1]


def test_annotated_references(tmp_path: Path) -> None:
    rows = [
        {
            "id": "a",
            "text": "Ann is in Rome.",
            "entities": [{"start": 0, "end": 3, "label": "PER"}],
        },
        {"id": "b", "text": "So is he.", "entities": [], "biasing_words": ["he"]},
    ]
    (tmp_path / "ref.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    (tmp_path / "hyp.tsv").write_text("a\tAnn is in room\nb\tSo is it.\n", "utf-8")
    scores = score_files(tmp_path / "ref.jsonl", {"x": tmp_path / "hyp.tsv"}).scores
    system = scores["systems"]["x"]
    assert system["entities"]["raw"]["by_label"]["PER"]["found"] == 1
    assert system["biasing"]["b_wer"].items() >= {"rate": 1.0, "errors": 1, "words": 1}.items()
    assert scores["bootstrap"]["of"] == "utterance"
    assert "speakers are unknown" in scores["warnings"][0]


def test_stm_and_ctm(tmp_path: Path) -> None:
    (tmp_path / "r.stm").write_text("talk 1 ann 0 2 so it is\ntalk 1 bob 2 4 yes\n", "utf-8")
    lines = ["talk 1 0.1 0.2 so", "talk 1 0.5 0.2 it", "talk 1 2.5 0.2 yes", "talk 1 9 0.2 no"]
    (tmp_path / "h.ctm").write_text("\n".join(lines), "utf-8")
    scores = score_files(tmp_path / "r.stm", {"x": tmp_path / "h.ctm"}).scores
    assert scores["systems"]["x"]["wer"]["raw"]["deletions"] == 1
    assert scores["bootstrap"] == {"blocks": 2, "of": "speaker", "resamples": 1000, "seed": 0}
    assert "1 word outside any segment" in scores["warnings"][-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(entities="nothing/here"), "expected patterns"),
        (Options(entities="en_core_web_none"), "python -m spacy download en_core_web_none"),
        (Options(bootstrap_by="recording"), r"no recording for 2 utterances \(a, b\)"),
        (Options(biasing_list=Path("nothing.txt")), "No such file"),
        (Options(normalizer="basics"), "expected one of: none, basic"),
    ],
)
def test_impossible_requests_are_rejected(folder: Path, options: Options, message: str) -> None:
    with pytest.raises(Exception, match=message):
        score_files(folder / "ref.jsonl", {"x": folder / "two.tsv"}, options)


def test_patterns_files(folder: Path) -> None:
    (folder / "p.jsonl").write_text('{"label": "DRUG", "pattern": "aspirin"}\n', "utf-8")
    options = Options(entities=str(folder / "p.jsonl"), bootstrap_by="utterance")
    scores = score_files(folder / "ref.jsonl", {"x": folder / "two.tsv"}, options).scores
    assert scores["reference"]["mentions"] == 1
    (folder / "p.jsonl").write_text("nonsense\n", "utf-8")
    with pytest.raises(ScoreError, match=r"p\.jsonl:1: not JSON"):
        score_files(folder / "ref.jsonl", {"x": folder / "two.tsv"}, options)
    (folder / "out").mkdir()
    (folder / "out" / "x").write_text("mine", "utf-8")
    with pytest.raises(RunError, match="not empty"):
        score_files(folder / "ref.jsonl", {"x": folder / "two.tsv"}, output=folder / "out")


def test_each_system_is_shown_and_what_was_written_is_said(folder: Path) -> None:
    hypotheses = [x for name in "abc" for x in ("--hypothesis", f"{name}=two.tsv")]
    asked = ["--reference", "ref.jsonl", *hypotheses, "--entities"]
    done = run(*asked, "terms", "--report", "new/r.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    heading, *rows = done.stdout.splitlines()[:4]
    assert heading.split()[:4] == ["rank", "system", "EER", "raw"]  # no normaliser was asked for
    assert [row.split()[:2] for row in rows] == [["–", "a"], ["–", "b"], ["–", "c"]]  # 2 speakers
    assert "Written: new/r.html" in done.stdout
    assert ", p = " not in done.stdout  # of two speakers
    (folder / "terms" / "drug.tsv").write_text("metformin\n", "utf-8")
    done = run(*asked, "terms", "--report", ".", cwd=folder)
    assert done.returncode == 2
    assert "expected a file for --report" in done.stderr
    assert "no term occurs in the references" in run(*asked, "terms", cwd=folder).stderr


def test_the_leaderboard_and_what_is_compared(folder: Path) -> None:
    """Twelve speakers; "one" misses Lipitor half of the time, "bad" always."""
    rows = [{"id": f"{i}", "text": "He takes Lipitor.", "speaker": f"{i}"} for i in range(12)]
    (folder / "ref.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    for name, missed in (("all", 0), ("one", 6), ("bad", 12)):
        texts = ["he takes lip" if i < missed else "he takes lipitor" for i in range(12)]
        (folder / f"{name}.tsv").write_text("".join(f"{i}\t{t}\n" for i, t in enumerate(texts)))
    asked = ["--reference", "ref.jsonl", "--entities", "terms", "--normalizer", "basic"]
    asked += [x for name in ("bad", "one", "all") for x in ("--hypothesis", f"{name}.tsv")]
    done = run(*asked, "-o", "out", cwd=folder)
    assert [line.split()[:3] for line in done.stdout.splitlines()[:4]] == [
        ["rank", "system", "EER"], ["1", "all", "0.0"], ["2", "one", "50.0"], ["3", "bad", "100.0"]
    ]  # fmt: skip
    lines = (folder / "out" / "recordings.csv").read_text("utf-8").splitlines()
    assert lines[0].startswith("system,recording,words,substitutions,deletions,insertions,wer")
    assert lines[1].startswith("bad,0,3,1,0,0,0.333") and len(lines) == 37
    done = run(*asked, "--compare", "all", "one", cwd=folder)
    assert "EER (normalized): +50.0 points" in done.stdout
    done = run(*asked, "--against", "best", cwd=folder)
    assert "against all" in done.stdout and "+100.0  +100.0 to +100.0  0.002" in done.stdout
    done = run(*asked, "-f", "md", "--sort", "wer", cwd=folder)
    assert done.stdout.splitlines()[0] == (
        "| rank | system | WER (95%) | WER raw | EER | EER raw | T-WER |"
    )
    assert run(*asked, "--compare", "all", "two", cwd=folder).stderr.startswith(
        "error: --compare: no system is called 'two'; expected two of: bad, one, all"
    )
    both = run(*asked, "--compare", "all", "one", "--against", "best", cwd=folder)
    assert both.returncode == 2 and "give one" in both.stderr


def test_a_kaldi_folder_and_lists_that_are_not_read(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "text").write_text("a he takes lipitor\nb she takes aspirin\n", "utf-8")
    (folder / "data" / "utt2spk").write_text("a ann\nb bob\n", "utf-8")
    (folder / "terms" / "condition.txt").write_text("asthma\n", "utf-8")
    options = Options(entities=str(folder / "terms"), normalizer="basic")
    scores = score_files(folder / "ref.jsonl", {"x": folder / "data"}, options).scores
    assert scores["systems"]["x"]["wer"]["normalized"]["errors"] == 0
    assert "terms: not read: 1 file (condition.txt); terms are .tsv and" in scores["warnings"][-1]


def test_the_example_runs() -> None:
    root = Path(__file__).resolve().parents[2]
    program = root / "examples" / "03_score_any_system.py"
    command = [sys.executable, str(program), str(root / "domains" / "medical")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "EER (raw) DRUG" in done.stdout and "WER (normalized)" in done.stdout


def test_two_files_of_one_name(folder: Path) -> None:
    (folder / "b").mkdir()
    (folder / "b" / "one.trn").write_text("x (a)\ny (b)\n", "utf-8")
    both = ["--hypothesis", "one.trn", "--hypothesis", "b/one.trn"]
    done = run("--reference", "ref.jsonl", *both, cwd=folder)
    assert done.returncode == 2
    assert "two hypotheses are called 'one'" in done.stderr


def test_nothing_heavy_is_imported(folder: Path) -> None:
    script = (
        "import sys; from asr_llm.jobs.score import score_files;"
        "score_files('ref.jsonl', {'x': 'two.tsv'}, output='o');"
        "sys.exit(bool({'torch', 'nemo', 'lightning', 'lhotse'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=folder).returncode == 0


WRONG_FILES = {
    "dup.tsv": b"a\tx\na\ty\n",
    "empty.jsonl": b"",
    "latin.tsv": b"a\tfine\nb\tcaf\xe9\n",
    "binary.tsv": b"RIFF\0\0\0\0WAVEfmt ",
    "visit.wav": b"RIFF\0\0\0\0WAVEfmt ",
    "other.tsv": b"x\tq\ny\tq\n",
    "bad.trn": b"she takes aspirin\n",
    "broken.jsonl": b'{"id": "a", "text": "x"}\n{"id": "b" "text": "x"}\n',
    "number.jsonl": b'{"id": "a", "text": 5}\n',
    "silent.jsonl": b'{"id": "a"}\n',
    "manifest.json": b'{"audio_filepath": "a.wav", "text": "x"}\n',
    "beyond.jsonl": b'{"id": "a", "text": "He.", '
    b'"entities": [{"start": 0, "end": 9, "label": "X"}]}\n',
    "patterns.jsonl": b'{"label": "DRUG", "pattern": "x"}\n{"label": "DRUG" "pattern"}\n',
    "unlabelled.jsonl": b'{"Label": "DRUG", "pattern": "aspirin"}\n',
    "none.jsonl": b"\n",
    "null.jsonl": b'{"label": "DRUG", "pattern": [{"LOWER": null}]}\n',
    "words.txt": b"\n",
    "who.rttm": b"SPEAKER talk 1 0.0 1.5 <NA> <NA> ann <NA> <NA>\n",
    "ref.stm": b"talk 1 ann 0 2 so it is\n",
}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--reference nothing.jsonl", "nothing.jsonl: found nothing there; expected a file or"),
        ("--hypothesis nothing.tsv", "nothing.tsv: found nothing there; expected a file or a fol"),
        ("--reference empty.jsonl", "empty.jsonl: found nothing in it; expected a reference for"),
        ("--hypothesis dup.tsv", "dup.tsv:2: found the id of dup.tsv:1 again; expected one"),
        ("--hypothesis other.tsv", "no hypothesis for 2 utterances (a, b); no reference for 2"),
        ("--hypothesis other.tsv --allow-missing", "Not one id is in both; expected hypotheses of"),
        (
            "--hypothesis latin.tsv",
            "latin.tsv:2: found not UTF-8 text; expected a text file: ",
        ),
        (
            "--hypothesis binary.tsv",
            "binary.tsv: found what looks like audio; expected a text file",
        ),
        ("--hypothesis visit.wav", "visit.wav: found no known suffix; expected one of .jsonl"),
        (
            "--hypothesis words.txt",
            "words.txt: found a .txt of no known layout; expected 'trans.txt'",
        ),
        (
            "--hypothesis who.rttm",
            "RTTM, which says who spoke when and has no words; expected what",
        ),
        (
            "--speakers --hypothesis who.rttm --reference ref.stm",
            "RTTM, which has no words; expect",
        ),
        ("--hypothesis bad.trn", "bad.trn:1: found no id in brackets at the end; expected text (s"),
        ("--hypothesis broken.jsonl", "broken.jsonl:2: found no JSON (from column"),
        ("--hypothesis number.jsonl", "number.jsonl:1: found no 'text', or no string; expected"),
        ("--hypothesis silent.jsonl", "silent.jsonl:1: found no text; expected one of pred_text"),
        ("--hypothesis manifest.json", "manifest.json:1: found no hypothesis: the text of a"),
        ("--hypothesis x=two.tsv --hypothesis x=one.trn", "two hypotheses are called 'x'"),
        ("--reference beyond.jsonl", "beyond.jsonl:1: found entity 1 at 0 to 9 of 3 characters"),
        ("--normalizer whisper", "unknown normalizer 'whisper'; expected one of: none, basic, wh"),
        ("--alignment dtw", "'--alignment': 'dtw' is not one of 'unit', 'sclite', 'jiwer'"),
        ("-f xml", "'--format': 'xml' is not one of 'txt', 'md', 'csv', 'json', 'html'"),
        (
            "--against best",
            "--against compares systems, and there is one; expected --hypothesis tw",
        ),
        (
            "--hypothesis x=two.tsv --hypothesis y=two.tsv --compare x x",
            "--compare: x twice; expec",
        ),
        ("--bootstrap-by recording", "no recording for 2 utterances (a, b); expected one for eve"),
        ("--entities patterns.jsonl", "patterns.jsonl:2: not JSON; expected {"),
        ("--entities unlabelled.jsonl", "unlabelled.jsonl:1: no label; expected for instance {"),
        (
            "--entities null.jsonl",
            "null.jsonl:1: spaCy rejects the pattern: [pattern -> 0 -> LOWER] No",
        ),
        ("--entities none.jsonl", "none.jsonl: no patterns; expected one on each line"),
        ("--entities binary.tsv", "binary.tsv: this looks like audio; expected a text file"),
        ("--entities visit.wav", "visit.wav: found no known suffix; expected patterns (.jsonl)"),
        ("--entities DRUG", "no file or folder 'DRUG', and no spaCy pipeline of that name is inst"),
        ("--entities en_core_web_none", "python -m spacy download en_core_web_none"),
        ("--biasing-list words.txt", "words.txt: no phrases in it; expected a phrase on each lin"),
        (
            "--report two.tsv/report.html",
            "two.tsv is a file; expected a folder: choose another with --report",
        ),
        ("-o two.tsv", "two.tsv is a file; expected a folder: choose another with -o"),
    ],
)
def test_each_mistake_is_one_error(
    folder: Path,
    arguments: str,
    message: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, content in WRONG_FILES.items():
        (folder / name).write_bytes(content)
    monkeypatch.chdir(folder)
    asked = arguments.split()
    for option, file in (("--reference", "ref.jsonl"), ("--hypothesis", "two.tsv")):
        asked += [] if option in asked else [option, file]
    with pytest.raises(SystemExit) as stopped:
        app(["score", *asked], prog_name="asr-llm")
    told = capfd.readouterr()
    assert (stopped.value.code, told.out) == (2, "")
    assert message in told.err
    assert told.err.lower().count("error: ") == 1
    assert "Traceback" not in told.err
