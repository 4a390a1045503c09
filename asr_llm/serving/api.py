"""OpenAI's transcription API: request parameters and response bodies.

https://platform.openai.com/docs/api-reference/audio/createTranscription. Independent of the web
framework.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from math import log
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from asr_llm.errors import AsrLlmError
from asr_llm.serving.listed import listed
from asr_llm.transcription import formats
from asr_llm.transcription.transcript import Segment, Transcript
from asr_llm.yaml_lines import unfit

LANGUAGES = {"en": "english"}
"""Supported languages by ISO 639-1 code, with their names in responses."""


class ApiError(AsrLlmError):
    """A request that gets an error response.

    Args:
        status: HTTP status.
        message: for the user.
        code: for the client program.
        param: the parameter at fault, if any.
        retry: seconds until a retry may help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        retry: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry = status, code, param, retry

    @property
    def body(self) -> dict[str, Any]:
        """The error in OpenAI's format."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        if self.status == 429:
            kind = "rate_limit_error"
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


def _list(given: Any) -> Any:
    return given if isinstance(given, list | tuple) else [given]


_LONGEST_PHRASE = 6  # words; the longest term of our domains has five


class Asked(BaseModel):
    """The parameters of a request, except the file.

    Decoding is deterministic, so ``temperature`` has no effect; audio is always split at silences,
    which is ``chunking_strategy`` ``auto``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str
    language: str | None = None
    prompt: str = ""
    keywords: Annotated[tuple[str, ...], BeforeValidator(_list)] = ()
    response_format: Literal["json", "text", "srt", "vtt", "verbose_json"] = "json"
    temperature: float = Field(0.0, ge=0, le=1)
    timestamp_granularities: Annotated[
        tuple[Literal["word", "segment"], ...], BeforeValidator(_list)
    ] = ("segment",)
    stream: bool = False
    chunking_strategy: Literal["auto"] = "auto"

    @property
    def words(self) -> bool:
        """Whether word times are requested."""
        return "word" in self.timestamp_granularities

    @cached_property
    def phrases(self) -> tuple[str, ...]:
        """Words and phrases to boost: keywords, and the prompt split at commas and lines.

        A long part is a sentence, not a phrase: its terms and names are extracted.
        """
        from asr_llm.corpus.terms.propose import General, propose

        parts = [*self.keywords]
        for part in re.split(r"[,\n]", self.prompt):
            if len(part.split()) <= _LONGEST_PHRASE:
                parts.append(part)
            else:
                parts += [found.term for found in propose([part], General())]
        trimmed = (" ".join(part.split()) for part in parts)
        return tuple(dict.fromkeys(part for part in trimmed if any(map(str.isalnum, part))))


def parse(fields: Iterable[tuple[str, str]]) -> Asked:
    """Parse form fields; empty ones count as absent.

    Raises:
        ApiError: one is unknown, missing, invalid or duplicated.
    """
    given: dict[str, Any] = {}
    for field, value in fields:
        name = field.removesuffix("[]")
        if not value.strip():
            continue
        if name in ("timestamp_granularities", "keywords"):
            given.setdefault(name, []).append(value)
        elif name in given:
            raise ApiError(400, f"{name} is given twice; expected it once", "invalid_value", name)
        else:
            given[name] = value
    try:
        asked = Asked(**given)
    except ValidationError as error:
        raise _invalid_request(error) from None
    if asked.language is not None and asked.language.lower() not in LANGUAGES:
        raise ApiError(
            400,
            f"language is {asked.language!r}; expected one that the model knows: "
            + ", ".join(LANGUAGES),
            "unsupported_language",
            "language",
        )
    if asked.words and asked.response_format != "verbose_json":
        raise ApiError(
            400,
            f"timestamp_granularities has 'word' and response_format is {asked.response_format!r}; "
            "expected 'verbose_json', which has a place for words",
            "invalid_value",
            "timestamp_granularities",
        )
    if asked.stream and asked.response_format in ("srt", "vtt"):
        raise ApiError(
            400,
            f"stream goes with json, text or verbose_json, not with {asked.response_format!r}; "
            "expected one of these as response_format, or no stream",
            "invalid_value",
            "stream",
        )
    return asked


def _invalid_request(error: ValidationError) -> ApiError:
    """Describe the first error."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        expected = ", ".join(["file", *Asked.model_fields])
        message = f"unknown parameter {name!r}; expected some of {expected}"
        return ApiError(400, message, "unknown_parameter", name)
    if first["type"] == "missing":
        message = f"{name} is missing; expected the id of a model, see GET /v1/models"
        return ApiError(400, message, "missing_required_parameter", name)
    found = str(first["input"])[:100]
    expected = unfit(first).partition("; ")[2]
    return ApiError(400, f"{name} is {found!r}; {expected}", "invalid_value", name)


def body(asked: Asked, transcript: Transcript) -> dict[str, Any] | str:
    """The answer: an object for JSON, or text."""
    if asked.response_format == "json":
        told = {"note": transcript.note} if transcript.note else {}
        return {"text": transcript.text, "usage": _usage(transcript)} | told
    if asked.response_format == "verbose_json":
        return _verbose(asked, transcript)
    if asked.response_format == "text":
        return transcript.text + "\n"
    return formats.render(transcript, asked.response_format)


def events(
    asked: Asked, number: int, segment: Segment, terms: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Events for a segment once it is final: the text it adds.

    ``verbose_json`` adds the segment's details and the positions of listed words and phrases: those
    of the request, and ``terms``. Except for the event type, this stream is not part of OpenAI's
    API.
    """
    text = segment.text if number == 0 else f" {segment.text}"
    added = [{"type": "transcript.text.delta", "delta": text}]
    if asked.response_format == "verbose_json":
        added.append(_segment_event(asked, number, segment, terms))
    return added


def _segment_event(
    asked: Asked, number: int, segment: Segment, terms: Iterable[str]
) -> dict[str, Any]:
    found = {"type": "transcript.text.segment", **_segment(number, segment), "id": str(number)}
    if asked.words:
        found["words"] = _words([segment])
    places = listed(segment.text.split(), [*asked.phrases, *terms])
    return found | {"listed": [[words.start, words.stop] for words in places]}


def done(asked: Asked, transcript: Transcript) -> dict[str, Any]:
    """The final event; with ``verbose_json`` including all details and subtitles."""
    end = {"type": "transcript.text.done", "text": transcript.text, "usage": _usage(transcript)}
    if asked.response_format == "verbose_json":
        end |= _verbose(asked, transcript) | {"srt": formats.render(transcript, "srt")}
    return end


def model_object(name: str, since: int, tells_words: bool) -> dict[str, Any]:
    """An entry of the model list, with the time granularities it supports."""
    granularities = ["segment", "word"] if tells_words else ["segment"]
    return {
        "id": name,
        "object": "model",
        "created": since,
        "owned_by": "asr-llm",
        "timestamp_granularities": granularities,
    }


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": transcript.duration}


def _verbose(asked: Asked, transcript: Transcript) -> dict[str, Any]:
    content = {
        "task": "transcribe",
        "language": LANGUAGES[(asked.language or "en").lower()],
        "duration": transcript.duration,
        "text": transcript.text,
        "usage": _usage(transcript),
        "note": transcript.note,
    }
    if "segment" in asked.timestamp_granularities:
        content["segments"] = [_segment(i, s) for i, s in enumerate(transcript.segments)]
    if asked.words:
        content["words"] = _words(transcript.segments)
    return content


def _words(segments: Iterable[Segment]) -> list[dict[str, Any]]:
    return [
        {"word": word.text, "start": word.start, "end": word.end, "confidence": word.confidence}
        for segment in segments
        for word in segment.words
    ]


def _segment(number: int, segment: Segment) -> Mapping[str, Any]:
    """Whisper's keys for a segment, plus ours.

    Clients written for Whisper expect all of its figures. Those we don't have, the no-speech
    probability and, without confidence, the text's probability, are set to their values for clean
    speech; ``guards`` reports problems.
    """
    text = segment.text.encode()
    return {
        "id": number,
        "seek": round(100 * segment.start),
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": log(max(segment.confidence, 1e-9)) if segment.confidence is not None else 0,
        "compression_ratio": round(len(text) / len(zlib.compress(text)), 3),
        "no_speech_prob": 0.0,
        "confidence": segment.confidence,
        "guards": [{"found": guard.found, "done": guard.done} for guard in segment.guards],
    }
