"""The application, in this process; the decoder is a fake."""

from __future__ import annotations

import asyncio
import io
import json
import math
import re
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fakes import ENERGY, FakeModel

import asr_llm.decoding.decoder  # noqa: F401 - first, as its libraries make temporary folders
from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.decoding.results import Decoded, DecodedWord
from asr_llm.serving.engine import Engine
from asr_llm.transcription.options import TranscribeOptions
from asr_llm.transcription.speech_llm import SpeechLLM

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytest.importorskip("python_multipart", reason="needs the extra 'serve'")
pytest.importorskip("prometheus_client", reason="needs the extra 'serve'")
testclient = pytest.importorskip("fastapi.testclient", reason="needs the extra 'dev'")

from asr_llm.serving import uploads as uploads_module  # noqa: E402
from asr_llm.serving.app import Access, Limits, Served, create_app  # noqa: E402

SOON = 120.0
URL = "/v1/audio/transcriptions"
FORM = {
    "type": "http",
    "method": "POST",
    "path": URL,
    "query_string": b"",
    "headers": [(b"content-type", b"multipart/form-data; boundary=x")],
}
"""The scope of a request that sends a form."""


class FakeDecoder:
    """Writes how loud each audio is, in thousandths; waits while it is held."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self.go.set()
        self.hold_from = 0  # the number of the batch from which on it is held
        self.batches = 0
        self.options: list[TranscribeOptions] = []
        self.uploads: list[Path] = []
        self.folder = Path(tempfile.gettempdir())

    def __call__(self, audios: list[np.ndarray], options: Any) -> list[Decoded]:
        self.uploads = list(self.folder.iterdir())
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in self.uploads)
        self.begun.release()
        self.batches += 1
        self.options.append(options)
        if self.batches == self.hold_from:
            self.go.clear()
        assert self.go.wait(SOON)
        texts = [str(round(1000 * float(np.abs(audio).max()))) for audio in audios]
        if "666" in texts:
            raise RuntimeError("confidential")
        if not options.confidence:
            return [Decoded(text) for text in texts]
        return [Decoded(text, words=(DecodedWord(text, 0.5, (math.log(0.5),)),)) for text in texts]


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where uploads are kept meanwhile."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


@pytest.fixture
def decoder(uploads: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDecoder]:
    fake = FakeDecoder()
    monkeypatch.setattr("asr_llm.decoding.decoder.Decoder.decode", fake)
    yield fake
    fake.go.set()
    assert list(uploads.iterdir()) == []  # whatever happened


@pytest.fixture
def engine(decoder: FakeDecoder) -> Iterator[Engine]:
    # One chunk at a time.
    model = SpeechLLM(FakeModel(), "mini", ENERGY, batch_seconds=1.0)  # type: ignore[arg-type]
    model.pipeline.decoder.prefers = lambda options: False  # type: ignore[method-assign]
    made = Engine(model, places=2, max_seconds=20.0)
    yield made
    decoder.go.set()
    made.close()
    made.join()


@pytest.fixture
def lines() -> list[str]:
    """The log."""
    return []


@pytest.fixture
def client(engine: Engine, lines: list[str]) -> Any:
    limits = Limits(max_bytes=800_000, timeout=SOON)
    plain = replace(ENERGY, confidence=True)
    models = {"mini": Served(plain), "medical": Served(replace(plain, adapters=("medical",)))}
    return testclient.TestClient(create_app(engine, models, limits, lines.append))


def wav(*loudness: int) -> bytes:
    """A second of a tone, so loud, and 1.5 s of silence, of each."""
    tone, silence = np.cos(np.arange(SAMPLE_RATE)), np.zeros(SAMPLE_RATE * 3 // 2)
    samples = np.concatenate([part for one in loudness for part in (one / 1000 * tone, silence)])
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="WAV")
    return file.getvalue()


def post(client: Any, audio: bytes | None = None, **fields: Any) -> Any:
    file = {"file": ("secret name.wav", wav(100) if audio is None else audio)}
    return client.post(URL, files=file, data={"model": "mini"} | fields)


def assert_error(response: Any, status: int, param: str | None, code: str, *words: str) -> None:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["code"]) == (param, code)
    for word in words:
        assert word in error["message"]
    assert "asr-llm-" not in error["message"]  # where the upload was kept


# Answers -----------------------------------------------------------------------------------


def test_json(client: Any, decoder: FakeDecoder, uploads: Path) -> None:
    response = post(client, wav(100, 200))
    assert response.status_code == 200
    assert response.json() == {"text": "100 200", "usage": {"type": "duration", "seconds": 5.0}}
    assert len(decoder.uploads) == 1  # and it is gone, see the fixture


def test_text(client: Any) -> None:
    response = post(client, response_format="text")
    assert response.text == "100\n"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


def test_verbose_json(client: Any) -> None:
    content = post(client, wav(100, 200), response_format="verbose_json", language="en").json()
    assert [(s["id"], s["start"], s["text"]) for s in content["segments"]] == [
        (0, 0.0, "100"),
        (1, 2.304, "200"),
    ]


def events(response: Any) -> list[Any]:
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = response.text.split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""]
    return [json.loads(block.removeprefix("data: ")) for block in blocks[:-2]]


def test_stream(client: Any) -> None:
    response = post(client, wav(100, 200, 300), stream="true")
    *deltas, done = events(response)
    assert deltas == [
        {"type": "transcript.text.delta", "delta": delta} for delta in ("100", " 200", " 300")
    ]
    assert done["type"] == "transcript.text.done"
    assert done["text"] == "100 200 300"


def test_a_stream_without_speech(client: Any) -> None:
    (done,) = events(post(client, wav(0), stream="true"))
    assert (done["type"], done["text"]) == ("transcript.text.done", "")


def test_a_failing_stream_reports_the_error(client: Any) -> None:
    first, error = events(post(client, wav(100, 200, 666), stream="true"))
    assert first["delta"] == "100"
    assert error["error"]["code"] == "internal_error"


def test_models(client: Any) -> None:
    content = client.get("/v1/models").json()
    assert content["object"] == "list"
    assert [model["id"] for model in content["data"]] == ["mini", "medical"]
    assert client.get("/v1/models/medical").json() == content["data"][1]
    assert_error(client.get("/v1/models/x/y"), 404, "model", "model_not_found", "'x/y'", "mini")


def test_health(client: Any, engine: Engine) -> None:
    with engine.place():
        response = client.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "requests": 1, "places": 2}
    engine.stop()
    response = client.get("/health")
    assert (response.status_code, response.json()["status"]) == (503, "stopping")


def test_words_of_the_prompt_are_preferred_for_its_request_alone(
    client: Any, decoder: FakeDecoder
) -> None:
    assert post(client, prompt="metoprolol, Dr. Okonkwo").status_code == 200
    assert post(client).status_code == 200
    assert [options.biasing for options in decoder.options] == [
        BiasingList(("metoprolol", "Dr. Okonkwo")),
        None,
    ]


def test_verbose_json_has_confidence_without_word_times(client: Any) -> None:
    (segment,) = post(client, response_format="verbose_json").json()["segments"]
    assert segment["confidence"] == 0.5
    assert segment["avg_logprob"] == pytest.approx(math.log(0.5))


# Errors ------------------------------------------------------------------------------------


def test_request_errors(client: Any) -> None:
    assert_error(post(client, model="x"), 404, "model", "model_not_found", "no model 'x'", "mini")
    assert_error(post(client, response_format="doc"), 400, "response_format", "invalid_value")
    assert_error(post(client, language="xx"), 400, "language", "unsupported_language")
    words = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    param = "timestamp_granularities"
    assert_error(post(client, **words), 400, param, "unsupported_parameter", "no CTC head")
    missing = client.post(URL, data={"model": "mini"}, files={"audio": b"x"})
    assert_error(missing, 400, "file", "missing_required_parameter", "in the field 'file'")
    no_file = client.post(URL, data={"model": "mini", "file": "x"}, files={"x": b""})
    assert_error(no_file, 400, "file", "missing_required_parameter")
    two = client.post(URL, data={"model": "mini"}, files=[("file", b"x"), ("file", b"y")])
    assert_error(two, 400, None, "invalid_body", "Too many files")
    assert_error(client.post(URL, json={"model": "mini"}), 400, None, "invalid_body", "not a form")
    broken = {"content-type": "multipart/form-data"}
    assert_error(client.post(URL, content=b"x", headers=broken), 400, None, "invalid_body")
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert_error(client.post(URL, content=b"--y", headers=broken), 400, None, "invalid_body")


def test_bad_audio(client: Any) -> None:
    assert_error(post(client, b""), 400, "file", "invalid_audio", "is empty (0 bytes)")
    assert_error(post(client, b"some text"), 400, "file", "invalid_audio", "cannot be decoded")
    assert_error(post(client, b"x", stream="true"), 400, "file", "invalid_audio")
    assert_error(post(client, wav(100)[:20]), 400, "file", "invalid_audio", "corrupt")


def test_too_large_and_too_long(client: Any) -> None:
    large = bytes(900_000)
    assert_error(post(client, large), 413, "file", "file_too_large", "larger than 0.8 MB")

    def untold() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        yield from [bytes(100_000)] * 9

    headers = {"content-type": "multipart/form-data; boundary=x"}
    response = client.post(URL, content=untold(), headers=headers)
    assert_error(response, 413, "file", "file_too_large")
    long = post(client, wav(*[100] * 9))
    assert_error(long, 413, "file", "audio_too_long", "longer than 20 s")


def test_ten_gigabytes_are_refused_before_any_is_read(engine: Engine) -> None:
    app = create_app(engine, {"mini": Served(ENERGY)}, Limits(), lambda _: None)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("read the body")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    declared = (b"content-length", b"10000000000")
    asyncio.run(app(FORM | {"headers": [*FORM["headers"], declared]}, receive, send))
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["error"]["code"] == "file_too_large"


def test_malformed_forms(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    no_file = {"file": ("", b"")}  # as a browser sends where no file was chosen
    response = client.post(URL, data={"model": "mini"}, files=no_file)
    assert_error(response, 400, "file", "missing_required_parameter")
    odd = {"content-type": "multipart/form-data; boundary=x; charset=punycode"}
    response = client.post(URL, content=b"--x--", headers=odd)
    assert_error(response, 400, None, "invalid_body", "expected utf-8")
    monkeypatch.setattr(uploads_module, "_MOST_TEXT", 1000)
    prompts = [(None, "x" * 300)] * 4
    response = client.post(URL, files=[("prompt", prompt) for prompt in prompts])
    assert_error(response, 400, None, "invalid_body", "its text is longer than", "filename")


def test_file_names_lead_nowhere(client: Any, uploads: Path, tmp_path: Path) -> None:
    for name in ("../../escaped.wav", "/etc/passwd", "C:\\x.wav", "a\0b", "x" * 3000, "é.m3u8"):
        response = client.post(URL, data={"model": "mini"}, files={"file": (name, wav(100))})
        assert response.status_code == 200, response.text
        assert list(uploads.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["uploads"]


def slow(seconds: float, body: bytes, app: Any) -> list[Any]:
    """Send that of a form, then nothing for so long; what was answered."""
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": body, "more_body": True}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.sleep(seconds)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(asyncio.wait_for(app({**FORM}, receive, send), SOON))
    return sent


def test_a_slow_client_frees_its_place(
    engine: Engine, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads_module, "_PATIENCE", 0.2)
    app = create_app(engine, {"mini": Served(ENERGY)}, Limits(), lines.append)
    start, body = slow(SOON, b"--x\r\n", app)
    assert start["status"] == 408
    assert json.loads(body["body"])["error"]["code"] == "upload_too_slow"
    assert "5 bytes came in 0 s; expected at least 1000 a second" in body["body"].decode()
    assert engine.taken == 0
    assert lines == [f"POST {URL} 408 {lines[0].split()[3]} s"]


# Who may ask, and what is counted -----------------------------------------------------------


def test_keys(engine: Engine, lines: list[str]) -> None:
    access = Access(keys=("first", "second"))
    client = testclient.TestClient(
        create_app(engine, {"mini": Served(ENERGY)}, Limits(), lines.append, access)
    )
    for path in ("/", "/page.js", "/health"):
        assert client.get(path).status_code == 200
    wrong = ("", "Bearer", "Bearer ", "Bearer firs", "Bearer firstt", "Basic first", "first")
    for header in (*wrong, "Bearer first second", b"Bearer \xff"):
        response = client.get("/v1/models", headers={"authorization": header})
        assert_error(response, 401, None, "invalid_api_key", "Authorization: Bearer KEY")
        assert response.headers["www-authenticate"] == "Bearer"
    for path in ("/metrics", "/v1/models", "/V1/models", "//v1/models", "/%76%31/models", "/x"):
        assert client.get(path).status_code == 401
    assert client.post(URL, content=b"x").status_code == 401
    for header in ("Bearer first", "bearer  second "):
        assert client.get("/v1/models", headers={"authorization": header}).status_code == 200
    assert not any("first" in line or "second" in line for line in lines)
    assert "first" not in repr(access)


def test_pages_elsewhere(engine: Engine) -> None:
    access = Access(keys=("k",), origins=("https://a.org",))
    client = testclient.TestClient(
        create_app(engine, {"mini": Served(ENERGY)}, Limits(), access=access)
    )
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "x-any"}
    allowed = client.options(URL, headers=asks | {"origin": "https://a.org"})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://a.org"
    assert allowed.headers["access-control-allow-headers"] == "x-any"
    refused = client.options(URL, headers=asks | {"origin": "https://b.org"})
    assert "access-control-allow-origin" not in refused.headers
    told = client.get("/v1/models", headers={"origin": "https://a.org"})  # what is wrong, too
    assert told.status_code == 401
    assert told.headers["access-control-allow-origin"] == "https://a.org"


def test_without_origins_no_page_elsewhere_reads_anything(client: Any) -> None:
    response = client.get("/v1/models", headers={"origin": "https://a.org"})
    assert "access-control-allow-origin" not in response.headers


def test_metrics(engine: Engine) -> None:
    models = {"mini": Served(ENERGY), "whisper-1": Served(ENERGY)}
    client = testclient.TestClient(create_app(engine, models, Limits()))
    post(client, wav(100, 200))  # 5 s
    post(client, wav(100), stream="true", model="whisper-1")  # 2.5 s
    post(client, model="secret")
    client.get("/secret")
    with engine.place():
        response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = response.text.splitlines()
    for line in (
        f'asr_llm_requests_total{{route="{URL}",status="200"}} 2.0',
        f'asr_llm_requests_total{{route="{URL}",status="404"}} 1.0',
        'asr_llm_requests_total{route="none",status="404"} 1.0',
        f'asr_llm_request_seconds_count{{route="{URL}"}} 3.0',
        'asr_llm_audio_seconds_total{model="mini"} 5.0',
        'asr_llm_audio_seconds_total{model="whisper-1"} 2.5',
        "asr_llm_places 2.0",
        "asr_llm_places_taken 1.0",
        "asr_llm_ready 1.0",
    ):
        assert line in found
    assert any(line.startswith("process_resident_memory_bytes ") for line in found)
    assert "secret" not in response.text


def test_the_page_loads_nothing_from_elsewhere(client: Any) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    names = re.findall(r'(?:src|href)="(?!data:,)([^"]*)"', page.text)
    assert names == ["page.css", "page.js"]
    for name in names:
        part = client.get(f"/{name}")
        assert part.status_code == 200
        assert "://" not in part.text


def test_a_stream_with_all_that_is_known(client: Any) -> None:
    fields = {"stream": "true", "response_format": "verbose_json", "keywords[]": "200"}
    *said, done = events(post(client, wav(100, 200), **fields))
    assert [event["delta"] for event in said[::2]] == ["100", " 200"]
    assert [(event["start"], event["listed"]) for event in said[1::2]] == [
        (0.0, []),
        (2.304, [[0, 1]]),
    ]
    assert done["srt"].startswith("1\n00:00:00,000 --> ")


def test_all_places_taken(client: Any, engine: Engine) -> None:
    with engine.place(), engine.place():
        response = post(client)
    assert_error(response, 429, None, "rate_limit_exceeded", "all 2 request slots")
    assert response.headers["retry-after"] == "2"
    assert post(client).status_code == 200


def test_stopping(client: Any, engine: Engine) -> None:
    engine.stop()
    assert_error(post(client), 503, None, "stopping")
    engine.close()


def test_timeouts(engine: Engine, decoder: FakeDecoder) -> None:
    app = create_app(engine, {"mini": Served(ENERGY)}, Limits(timeout=0.5))
    with testclient.TestClient(app) as client:  # one loop for all
        decoder.go.clear()
        assert_error(post(client), 504, None, "timeout", "timed out")
        decoder.go.set()
        assert engine.taken == 0


def test_internal_errors_reveal_nothing(client: Any, lines: list[str], engine: Engine) -> None:
    response = post(client, wav(666))
    assert_error(response, 500, None, "internal_error")
    assert "confidential" not in response.text
    assert lines[0] == "error: unexpected RuntimeError"
    assert engine.taken == 0


def test_other_routes(client: Any) -> None:
    assert_error(client.get("/v1/nothing"), 404, None, "not_found")
    assert_error(client.get(URL), 405, None, "not_found")


def test_the_log_says_nothing_of_the_user(client: Any, lines: list[str]) -> None:
    post(client, wav(100), temperature="secret")
    post(client, wav(100))
    client.post(URL + "?secret=query", data={"secret": "secret"}, files={"secret": b"secret"})
    client.get("/v1/models/secret")
    client.get("/secret")
    assert [line.rsplit(" ", 2)[0] for line in lines] == [
        f"POST {URL} 400",
        f"POST {URL} 200",
        f"POST {URL} 400",
        "GET /v1/models/{name:path} 404",
        "no such route 404",
    ]


# Clients that leave ------------------------------------------------------------------------


def post_and_leave(app: Any, audio: bytes, leave: Callable[[str], bool], stream: str) -> str:
    """Post, and leave as soon as that is true of what was answered; what was answered."""
    fields = {"model": "mini", "stream": stream}
    content = b"".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    )
    content += b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + audio
    answer = ""
    messages = [{"type": "http.request", "body": content + b"\r\n--x--\r\n"}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        while not leave(answer):
            await asyncio.sleep(0.005)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal answer
        answer += message.get("body", b"").decode()

    asyncio.run(asyncio.wait_for(app({**FORM}, receive, send), SOON))
    return answer


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_leaving_client_frees_its_place(
    engine: Engine, decoder: FakeDecoder, lines: list[str], stream: str
) -> None:
    app = create_app(engine, {"mini": Served(ENERGY)}, Limits(), lines.append)
    decoder.go.clear()
    begun = decoder.begun
    answer = post_and_leave(app, wav(100), lambda _: begun.acquire(blocking=False), stream)
    assert answer == ""
    assert engine.taken == 0
    assert lines[0].startswith(f"POST {URL} 499")


def test_leaving_mid_stream_frees_the_place(engine: Engine, decoder: FakeDecoder) -> None:
    app = create_app(engine, {"mini": Served(ENERGY)}, Limits())
    decoder.hold_from = 3
    answer = post_and_leave(app, wav(*range(100, 108)), lambda sent: "delta" in sent, "true")
    assert '"delta": "100"' in answer
    assert "101" not in answer and "done" not in answer
    assert engine.taken == 0
