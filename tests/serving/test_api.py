"""OpenAI's interface: what may be asked for, and the bodies of the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asr_llm.decoding.results import Guard
from asr_llm.serving.api import ApiError, Asked, body, done, events, parse
from asr_llm.transcription.transcript import Segment, Transcript, Word

TRANSCRIPT = Transcript(
    Path("/tmp/x"),
    4.5,
    (
        Segment(0.25, 1.5, "Two teas.", (Word("Two", 0.25, 0.75, 0.5), Word("teas.", 0.75, 1.5))),
        Segment(2.0, 4.0, "And one.", confidence=0.5, guards=(Guard("repetition", "cut"),)),
    ),
    "mini",
    note="2.0 to 4.0 s: the model repeated itself, the repetitions were cut",
)


def test_request_parameters() -> None:
    assert parse([("model", "mini")]) == Asked(model="mini")
    asked = parse([
        ("model", "medical"),
        ("language", "EN"),
        ("prompt", "metoprolol, St. John's  wort\nbid"),
        ("keywords[]", "qid"),
        ("keywords[]", "bid"),
        ("response_format", "verbose_json"),
        ("temperature", "0.4"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("stream", "false"),
        ("chunking_strategy", "auto"),
    ])  # fmt: skip
    assert (asked.model, asked.response_format, asked.temperature) == (
        "medical",
        "verbose_json",
        0.4,
    )
    assert asked.phrases == ("qid", "bid", "metoprolol", "St. John's wort")
    assert asked.words and not asked.stream


def test_of_a_prompt_in_prose_its_terms_and_names_are_preferred() -> None:
    prose = "This is a call with Doctor Okonkwo about metoprolol and the weather, Zephyr"
    assert set(parse([("model", "mini"), ("prompt", prose)]).phrases) == {
        "Okonkwo",
        "metoprolol",
        "Zephyr",
    }


def test_a_prompt_without_words_prefers_nothing() -> None:
    assert parse([("model", "mini"), ("prompt", " , ...\n")]).phrases == ()


@pytest.mark.parametrize(
    ("fields", "param", "code", "words"),
    [
        ({}, "model", "missing_required_parameter", "model is missing; expected the id"),
        ({"modle": "x"}, "modle", "unknown_parameter", "unknown parameter 'modle'; expected some"),
        ({"response_format": "doc"}, "response_format", "invalid_value", "is 'doc'"),
        ({"temperature": "1.5"}, "temperature", "invalid_value", "expected at most 1"),
        ({"temperature": "hot"}, "temperature", "invalid_value", "is 'hot'"),
        ({"stream": "maybe"}, "stream", "invalid_value", "is 'maybe'"),
        ({"language": "de"}, "language", "unsupported_language", "is 'de'; expected one"),
        ({"include[]": "logprobs"}, "include", "unknown_parameter", "'include'"),
        ({"timestamp_granularities[]": "x"}, "timestamp_granularities", "invalid_value", "'x'"),
        ({"timestamp_granularities": "word"}, "timestamp_granularities", "invalid_value", "'json'"),
        ({"stream": "true", "response_format": "srt"}, "stream", "invalid_value", "'srt'"),
    ],
)
def test_invalid_requests_are_rejected(
    fields: dict[str, str], param: str, code: str, words: str
) -> None:
    given = [*fields.items()]
    if param != "model":
        given.append(("model", "mini"))
    with pytest.raises(ApiError) as refused:
        parse(given)
    error = refused.value
    assert error.status == 400
    assert words in str(error)
    assert error.body == {
        "error": {
            "message": str(error),
            "type": "invalid_request_error",
            "param": param,
            "code": code,
        }
    }


def test_a_field_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ApiError, match="model is given twice"):
        parse([("model", "mini"), ("model", "medical")])


def test_the_kinds_of_errors() -> None:
    kinds = [ApiError(s, "").body["error"]["type"] for s in (400, 404, 413, 429, 500, 503)]
    assert kinds == [
        *["invalid_request_error"] * 3,
        "rate_limit_error",
        "server_error",
        "server_error",
    ]


def test_json_and_text() -> None:
    usage = {"type": "duration", "seconds": 4.5}
    plain = {"text": "Two teas. And one.", "usage": usage}
    assert body(Asked(model="m"), TRANSCRIPT) == plain | {"note": TRANSCRIPT.note}
    assert body(Asked(model="m"), replace(TRANSCRIPT, note=None)) == plain
    assert body(Asked(model="m", response_format="text"), TRANSCRIPT) == "Two teas. And one.\n"


def test_subtitles() -> None:
    srt, vtt = (body(Asked(model="m", response_format=f), TRANSCRIPT) for f in ("srt", "vtt"))
    assert srt == (
        "1\n00:00:00,250 --> 00:00:01,500\nTwo teas.\n\n"
        "2\n00:00:02,000 --> 00:00:04,000\nAnd one.\n"
    )
    assert isinstance(vtt, str)
    assert vtt.startswith("WEBVTT\n\n00:00:00.250 --> 00:00:01.500\nTwo teas.\n")


def test_verbose_json() -> None:
    content = body(Asked(model="m", response_format="verbose_json"), TRANSCRIPT)
    assert isinstance(content, dict)
    segments = content.pop("segments")
    assert content == {
        "task": "transcribe",
        "language": "english",
        "duration": 4.5,
        "text": "Two teas. And one.",
        "usage": {"type": "duration", "seconds": 4.5},
        "note": "2.0 to 4.0 s: the model repeated itself, the repetitions were cut",
    }
    assert segments[1] == {
        "id": 1,
        "seek": 200,
        "start": 2.0,
        "end": 4.0,
        "text": "And one.",
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": pytest.approx(-0.693, abs=1e-3),
        "compression_ratio": 0.5,  # 8 bytes; zlib makes them 16
        "no_speech_prob": 0.0,
        "confidence": 0.5,
        "guards": [{"found": "repetition", "done": "cut"}],
    }
    assert (segments[0]["avg_logprob"], segments[0]["confidence"]) == (0.0, None)


def test_only_requested_granularities() -> None:
    asked = Asked(model="m", response_format="verbose_json", timestamp_granularities=("word",))
    content = body(asked, TRANSCRIPT)
    assert isinstance(content, dict)
    assert "segments" not in content
    assert content["words"] == [
        {"word": "Two", "start": 0.25, "end": 0.75, "confidence": 0.5},
        {"word": "teas.", "start": 0.75, "end": 1.5, "confidence": None},
    ]


def test_events() -> None:
    first, second = TRANSCRIPT.segments
    asked = Asked(model="m", stream=True)
    assert events(asked, 0, first) == [{"type": "transcript.text.delta", "delta": "Two teas."}]
    assert events(asked, 1, second) == [{"type": "transcript.text.delta", "delta": " And one."}]
    assert done(asked, TRANSCRIPT) == {
        "type": "transcript.text.done",
        "text": "Two teas. And one.",
        "usage": {"type": "duration", "seconds": 4.5},
    }


def test_events_with_all_that_is_known() -> None:
    asked = Asked(
        model="m",
        stream=True,
        response_format="verbose_json",
        keywords=("two teas",),
        timestamp_granularities=("word",),
    )
    first, second = TRANSCRIPT.segments
    _, told = events(asked, 0, first, ["one"])
    assert (told["type"], told["id"], told["start"], told["text"]) == (
        "transcript.text.segment", "0", 0.25, "Two teas.",
    )  # fmt: skip
    assert [word["confidence"] for word in told["words"]] == [0.5, None]
    assert told["listed"] == [[0, 2]]
    _, told = events(asked, 1, second, ["one"])
    assert (told["confidence"], told["listed"], told["words"]) == (0.5, [[1, 2]], [])
    end = done(asked, TRANSCRIPT)
    assert end["type"] == "transcript.text.done"
    assert end["srt"].startswith("1\n00:00:00,250 --> ")
    assert len(end["words"]) == 2 and "segments" not in end


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_empty_fields_are_absent(empty: str) -> None:
    """Forms send every field, those left empty too."""
    names = [*Asked.model_fields, "timestamp_granularities[]", "keywords[]", "nothing"]
    fields = [(name, empty) for name in names if name != "model"]
    assert parse([*fields, ("model", "mini"), *fields]) == Asked(model="mini")
    assert parse([("model", "mini"), ("language", empty), ("language", "en")]).language == "en"
    with pytest.raises(ApiError, match="model is missing"):
        parse([("model", empty)])
