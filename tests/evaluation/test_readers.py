"""Reading references and hypotheses in every format, and saying what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_llm.errors import ScoreError
from asr_llm.evaluation.readers import (
    Entity,
    PlacedWords,
    Row,
    ctm_for_stm,
    read_hypotheses,
    read_references,
)
from asr_llm.evaluation.rows import json_rows


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def to(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    return to


def lines(*rows: Any) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"


def test_json_rows_know_their_places() -> None:
    assert list(json_rows('{"a": 1}\n\n[2]\n')) == [(1, {"a": 1}), (3, [2])]
    assert list(json_rows(' ["x",\n"y"]')) == [(1, "x"), (2, "y")]
    with pytest.raises(json.JSONDecodeError, match="line 3 column 6"):
        list(json_rows('1\n\n{"a" 2}'))


def test_json_lines_and_a_list(write: Any) -> None:
    rows = [
        {
            "id": "b",
            "text": "Take Lipitor, daily.",
            "speaker": "Ann",
            "recording": "r1",
            "entities": [{"start": 5, "end": 12, "label": "DRUG"}],
            "biasing_words": ["Lipitor", "statin"],
        },
        {"id": 1, "text": "", "speaker": 7, "entities": [], "biasing_words": []},
        {"id": "a", "text": " as  written\u2028 "},
    ]
    expected = {
        "b": Row(
            "b",
            "Take Lipitor, daily.",
            "Ann",
            "r1",
            (Entity(5, 12, "DRUG"),),
            ("Lipitor", "statin"),
        ),
        "1": Row("1", "", "7", None, (), ()),
        "a": Row("a", " as  written\u2028 "),
    }
    found = read_references(write("r.jsonl", lines(*rows)))
    assert found == expected
    assert list(found) == ["b", "1", "a"]
    assert read_references(write("r.json", json.dumps(rows, indent=1))) == expected
    assert read_references(write("lines.json", "\n" + lines(*rows))) == expected


def test_what_is_reference_and_what_hypothesis(write: Any) -> None:
    both = write("h.jsonl", lines({"id": "a", "reference": "said", "text": "heard"}))
    assert read_references(both)["a"].text == "said"
    assert read_hypotheses(both) == {"a": "heard"}
    for key in ("hypothesis", "pred_text", "transcription"):
        row = {"utt_id": "a", "text": "said", key: "heard", "entities": "not looked at"}
        assert read_hypotheses(write("h.jsonl", lines(row))) == {"a": "heard"}


def test_a_nemo_manifest(write: Any) -> None:
    path = write(
        "m.json",
        lines(
            {"audio_filepath": "x/talk.wav", "offset": 0, "text": "a b", "pred_text": "a"},
            {"audio_filepath": "x/talk.wav", "offset": 1.2345, "text": "c", "pred_text": ""},
            {"audio_filepath": "x/one.wav", "text": "d", "pred_text": "e", "speaker": "s"},
            {"audio_filepath": "x/talk.wav", "id": "own", "text": "f", "pred_text": "g"},
        ),
    )
    assert read_references(path) == {
        "talk-0": Row("talk-0", "a b", None, "talk"),
        "talk-1234": Row("talk-1234", "c", None, "talk"),
        "one": Row("one", "d", "s", "one"),
        "own": Row("own", "f", None, "talk"),
    }
    assert read_hypotheses(path) == {"talk-0": "a", "talk-1234": "", "one": "e", "own": "g"}


def test_a_manifest_is_not_scored_against_itself(write: Any) -> None:
    path = write("m.jsonl", lines({"audio_filepath": "a.wav", "text": "said"}))
    with pytest.raises(ScoreError, match=r"m\.jsonl:1: found no hypothesis: .* of pred_text"):
        read_hypotheses(path)


def test_trn(write: Any) -> None:
    path = write(
        "r.trn",
        ";; a comment\n"
        "he said (quietly) yes (ann-01)\n"
        "(ann_02)\n"
        "it { is / 's } { @ / uh } a { tea { cup / mug } / pot } / so (bob_x-3)\n"
        "last (9)\n",
    )
    assert read_references(path) == {
        "ann-01": Row("ann-01", "he said (quietly) yes", "ann"),
        "ann_02": Row("ann_02", "", "ann"),
        "bob_x-3": Row(
            "bob_x-3",
            "it is a tea cup / so",
            "bob",
            alternatives="it { is / 's } { @ / uh } a { tea { cup / mug } / pot } / so",
        ),
        "9": Row("9", "last"),
    }
    hypothesis = write("h.trn", "as { it / is (ann-01)\r\n")
    assert read_hypotheses(hypothesis) == {"ann-01": "as { it / is"}


STM = """;; CATEGORY "0" "" ""
talk 1 ann 0.00 2.50 <o,f0,female> good { day / morning }
talk 1 none 2.5 4 ignore_time_segment_in_scoring
talk 1 bob 4 5.0005 <o,f0,male>
talk 2 eve 0 2 hello
"""


def test_stm(write: Any) -> None:
    assert read_references(write("r.stm", STM)) == {
        "talk-1-0-2500": Row(
            "talk-1-0-2500", "good day", "ann", "talk", alternatives="good { day / morning }"
        ),
        "talk-1-4000-5000": Row("talk-1-4000-5000", "", "bob", "talk"),
        "talk-2-0-2000": Row("talk-2-0-2000", "hello", "eve", "talk"),
    }


def test_ctm_by_recording(write: Any) -> None:
    text = ";; words\nb 1 1.0 .2 two 0.9\nb 1 0.5 .2 one\nb 1 2 1 <eps>\na 1 0 1 x\n"
    assert read_hypotheses(write("h.ctm", text)) == {"b": "one two", "a": "x"}
    channels = write("h.ctm", "b A 0 1 left\nb B 0 1 right\n")
    assert read_hypotheses(channels) == {"b-A": "left", "b-B": "right"}


def test_ctm_words_into_stm_segments(write: Any) -> None:
    words = (
        "talk 1 2.3 0.3 day\n"  # its middle is 2.45
        "talk 1 0.1 0.2 good\n"
        "talk 1 2.4 0.2 so\n"  # 2.5: in the segment that is not scored
        "talk 1 5.0 0.2 late\n"  # 5.1: after the last segment
        "talk 2 0.0 0.2 hello\n"
        "talk 3 0.0 0.2 elsewhere\n"
    )
    placed = ctm_for_stm(write("h.ctm", words), write("r.stm", STM))
    assert placed == PlacedWords(
        {"talk-1-0-2500": "good day", "talk-1-4000-5000": "", "talk-2-0-2000": "hello"},
        ignored=1,
        outside=2,
    )
    assert list(placed.texts) == list(read_references(write("r.stm", STM)))
    with pytest.raises(
        ScoreError, match=r"2 words, none in a segment of .*same names and channels"
    ):
        ctm_for_stm(write("h.ctm", "talk A 0 1 x\ntalk A 1 1 y\n"), write("r.stm", STM))


def test_tables(write: Any) -> None:
    commas = write("r.csv", 'Text,ID,speaker\n"one, ""two""\nthree",b,ann\n,a,\n')
    assert read_references(commas) == {
        "b": Row("b", 'one, "two"\nthree', "ann"),
        "a": Row("a", ""),
    }
    tabs = write("r.tsv", "path\tsentence\nclips/x.mp3\tone, two\n")
    assert read_references(tabs) == {"x": Row("x", "one, two")}
    both = write("h.tsv", "utt_id\ttext\thypothesis\nx\tsaid\theard\n")
    assert (read_references(both)["x"].text, read_hypotheses(both)) == ("said", {"x": "heard"})
    assert read_hypotheses(write("h.tsv", "b\tone two\na\t\n")) == {"b": "one two", "a": ""}


def test_quotes_of_a_tsv(write: Any) -> None:
    assert read_hypotheses(write("h.tsv", 'a\t"said ""so"""\n')) == {"a": 'said "so"'}
    inches = write("h.tsv", 'a\t"Yes" he said\nb\t"not closed\nc\tend"\n')
    assert read_hypotheses(inches) == {"a": '"Yes" he said', "b": '"not closed', "c": 'end"'}


def test_kaldi_and_folders(write: Any, tmp_path: Path) -> None:
    expected = {"utt2": "good  day", "utt1": ""}
    assert read_hypotheses(write("data/text", "utt2 good  day\nutt1\n")) == expected
    assert read_hypotheses(write("8-1.trans.txt", "utt2\tgood  day\nutt1 \n")) == expected
    for name, text in (("b.txt", "two\n"), ("a.1.txt", "\ufeffone\nmore\n"), ("notes.md", "x")):
        write(f"folder/{name}", text)
    found = read_references(tmp_path / "folder")
    assert found == {"a.1": Row("a.1", "one\nmore"), "b": Row("b", "two")}


NLP = """token|speaker|ts|endTs|punctuation|case|tags|wer_tags
good|0||||UC|[]|[]
Day|0|||,|LC|[]|['9']
<crosstalk>|0||||LC|[]|[]
ge's|1||||CA|['5:ABBREVIATION']|['5', '7']
GmbH|1||||MC|['2:ORG']|['7']
two|1||||LC|['3:YEAR', '4:DATE']|['3', '4']
thousand|1|||.|LC|['3:YEAR', '4:DATE']|['3', '4']
two|1||||LC|['8:YEAR']|[]
"""
NLP_TEXT = "Good day, GE'S GmbH two thousand. two"


def test_nlp(write: Any) -> None:
    row = read_references(write("call.1.nlp", NLP.replace("\n", "\r\n")))["call.1"]
    assert (row.text, row.recording) == (NLP_TEXT, "call.1")
    assert row.entities == (
        Entity(10, 14, "ABBREVIATION"),
        Entity(15, 19, "ORG"),
        Entity(20, 32, "YEAR"),
        Entity(34, 37, "YEAR"),
    )
    assert [NLP_TEXT[e.start : e.end] for e in row.entities] == [
        "GE'S",
        "GmbH",
        "two thousand",
        "two",
    ]


@pytest.mark.parametrize("sidecar", ["n/call.wer_tag.json", "wer_tags/call.wer_tag.json"])
def test_nlp_with_the_labels_of_its_wer_tags(write: Any, sidecar: str) -> None:
    labels = {"7": "ORG", "5": "CONTRACTION", "3": "YEAR", "4": "DATE"}  # none of 9
    write(sidecar, json.dumps({tag: {"entity_type": label} for tag, label in labels.items()}))
    assert read_references(write("n/call.nlp", NLP))["call"].entities == (
        Entity(10, 14, "CONTRACTION"),
        Entity(10, 19, "ORG"),
        Entity(20, 32, "DATE"),
        Entity(20, 32, "YEAR"),
    )


def test_nlp_of_earnings_22_and_without_tags(write: Any) -> None:
    header = "token|speaker|ts|endTs|punctuation|prepunctuation|case|tags|oldTs\n"
    text = header + "Inc|0|1.0|2.0|)|(|UC|['1:ORG']|\nso|0|||.||LC|[]|\n"
    row = Row("c", "(Inc) so.", None, "c", (Entity(1, 4, "ORG"),))
    assert read_references(write("n/c.nlp", text)) == {"c": row}
    plain = "token|speaker|ts|endTs|punctuation|case\nso|0|||.|UC\n"
    write("n/d.nlp", plain)
    assert read_references(write("n/c.nlp", text).parent) == {
        "c": row,
        "d": Row("d", "So.", None, "d"),
    }


def test_a_byte_order_mark_is_no_letter(write: Any) -> None:
    mark = "\ufeff"
    assert read_hypotheses(write("h.jsonl", mark + '{"id": "a", "text": "x"}')) == {"a": "x"}
    assert read_hypotheses(write("h.tsv", mark + "id\ttext\na\tx\n")) == {"a": "x"}
    assert read_hypotheses(write("h.csv", mark + "id,text\r\na,x\r\n")) == {"a": "x"}
    assert read_hypotheses(write("text", mark + "a x\n")) == {"a": "x"}


ENTITY = '{"id": "a", "text": "SECRET b", "entities": %s}'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.jsonl", "\n", r"r\.jsonl: found nothing in it; expected a reference for each"),
        ("r.jsonl", '\n{"id": "SECRET"\n', r"r\.jsonl:2: found no JSON \(from column"),
        ("r.json", '[{"id": "SECRET",\n "text": }]', r"r\.json:2: found no JSON"),
        (
            "r.json",
            '[{"id": "a", "text": "x"}, 3]',
            r"r\.json, item 2: found JSON of type int; expected a",
        ),
        ("r.jsonl", '{"text": "SECRET"}', r":1: found no id; expected one of id, utt_id, audio_f"),
        ("r.jsonl", '{"id": "a"}', r":1: found no text; expected one of reference, text, "),
        ("r.jsonl", '{"id": "a", "text": "x"}\n{"id": "b"}', r":2: found no 'text', or no string"),
        ("r.jsonl", '{"id": "a", "text": ["SECRET"]}', r":1: found no 'text', or no string"),
        ("r.jsonl", '{"id": 0.5, "text": "SECRET"}', r":1: found 'id' that is a float"),
        ("r.jsonl", '{"id": "", "text": "SECRET"}', r":1: found an empty id"),
        ("r.jsonl", ENTITY % "{}", r":1: found 'entities' that is a dict; expected a list"),
        ("r.jsonl", ENTITY % '[{"start": 0}]', r":1: found entity 1 malformed"),
        (
            "r.jsonl",
            ENTITY % '[{"start": 7, "end": 9, "label": "X"}]',
            r":1: found entity 1 at 7 to 9 of 8 characters; expected a stretch within the text",
        ),
        ("r.jsonl", ENTITY % '[{"start": 2, "end": 2, "label": "X"}]', "entity 1 at 2 to 2"),
        ("r.jsonl", ENTITY % '[{"start": 6, "end": 7, "label": "X"}]', "that is not empty"),
        (
            "r.jsonl",
            '{"id": "a", "text": "SECRET", "biasing_words": "SECRET"}',
            r":1: found 'biasing_words' of another kind; expected a list of strings",
        ),
        (
            "r.jsonl",
            '{"audio_filepath": "a.wav", "text": "SECRET", "offset": -1}\n' * 2,
            r":1: found an 'offset' that is none; expected seconds",
        ),
        ("r.trn", "ok (a-1)\nSECRET\n", r"r\.trn:2: found no id in brackets at the end"),
        ("r.trn", "{ SECRET / b (a-1)\n", r":1: found a '{' that is not closed"),
        ("r.stm", "f 1 ann 0 SECRET x", r":1: found 6 columns or no times; expected recording"),
        ("r.stm", "f 1 ann 2 1 SECRET", r":1: found 6 columns or no times"),
        ("r.ctm", "f 1 0 1", r":1: found 4 columns or no times; .* word \[confidence\]"),
        ("r.ctm", "f 1 nan 1 SECRET", r":1: found 5 columns or no times"),
        ("r.csv", "a,SECRET\n", r":1: found 2 columns without an id or a text; expected a header"),
        ("r.tsv", "name\ttext\nb\tSECRET\n", r":1: found 2 columns without an id or a text"),
        ("r.csv", "id,text\na,SECRET,b\n", r":2: found 3 columns; expected 2, as in the first"),
        ("r.csv", 'id,text\na,"x\ny"\nb,"SECRET', r":4: found not a row of a table"),
        ("r.nlp", "SECRET|0\n", r":1: found no column 'token'"),
        ("r.nlp", "token|tags\nSECRET|x|y\n", r":2: found 3 columns; expected 2, as in the header"),
        ("r.nlp", "token|tags\nSECRET|x\n", r":2: found tags of another form; expected \['0:LAB"),
        ("r.docx", "SECRET", r"r\.docx: found no known suffix; expected one of \.jsonl, "),
    ],
)
def test_malformed_input_is_reported(write: Any, name: str, text: str, message: str) -> None:
    with pytest.raises(ScoreError, match=message) as caught:
        read_references(write(name, text))
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "first", "second"),
    [
        ("r.jsonl", '{"id": 1, "text": "x"}\n\n{"id": "1", "text": "y"}', ":1", ":3"),
        ("r.trn", "x (a-1)\ny (b-1)\nz (a-1)", ":1", ":3"),
        ("r.tsv", "id\ttext\na\tx\na\ty", ":2", ":3"),
        ("r.csv", 'id,text\na,"x\nx"\na,y', ":2", ":4"),
        ("text", "a x\na y", ":1", ":2"),
        ("r.stm", "f 1 s 0 1 x\nf 1 t 0 1 y", ":1", ":2"),
        ("r.json", '[{"id": "a", "text": ""}, {"id": "a", "text": ""}]', ", item 1", ", item 2"),
    ],
)
def test_both_places_of_an_id_are_named(
    write: Any, name: str, text: str, first: str, second: str
) -> None:
    path = write(name, text)
    with pytest.raises(ScoreError) as caught:
        read_references(path)
    said = f"{path}{second}: found the id of {path}{first} again; expected one reference for an id"
    assert str(caught.value) == said


def test_unreadable_files_are_rejected(write: Any, tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="found nothing there; expected a file or a folder"):
        read_references(tmp_path / "r.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScoreError, match="empty: found nothing in it; expected a hypothesis"):
        read_hypotheses(tmp_path / "empty")
    (tmp_path / "text").write_bytes(b"a x\nb \xe9\n")
    with pytest.raises(ScoreError, match=r"text:2: found not UTF-8 text; expected a text file"):
        read_references(tmp_path / "text")
    write("c.wer_tag.json", '{"1": "ORG"}')
    with pytest.raises(ScoreError, match=r"c\.wer_tag\.json: found JSON of another form"):
        read_references(write("c.nlp", "token|wer_tags\nx|['1']\n"))


IDS = st.text(st.characters(codec="utf-8"), min_size=1)
TEXTS = st.text(st.characters(codec="utf-8"))


@given(st.dictionaries(IDS, TEXTS, min_size=1), st.booleans())
def test_json_lines_round_trip(texts: dict[str, str], escaped: bool) -> None:
    rows = [json.dumps({"id": i, "text": t}, ensure_ascii=escaped) for i, t in texts.items()]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "r.jsonl"
        path.write_bytes("\n".join(rows).encode())
        found = read_references(path)
        assert [(row.id, row.text) for row in found.values()] == list(texts.items())
        assert list(read_hypotheses(path).items()) == list(texts.items())


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]+[-_][a-z0-9_-]+", fullmatch=True),
        st.lists(st.text("abé()./-_;@", min_size=1, max_size=6)).map(" ".join),
        min_size=1,
    )
)
def test_trn_round_trip(texts: dict[str, str]) -> None:
    texts = {name: text for name, text in texts.items() if not text.startswith(";;")} or {"a-1": ""}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "r.trn"
        path.write_bytes("".join(f"{t} ({i})\n" for i, t in texts.items()).encode())
        found = read_references(path)
        assert [(row.id, row.text) for row in found.values()] == list(texts.items())
        assert all(i.startswith(row.speaker or "?") for i, row in found.items())
