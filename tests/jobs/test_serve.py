"""The server, started by its command, met by OpenAI's own client."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from asr_llm.corpus.recordings.audio import SAMPLE_RATE
from asr_llm.corpus.speech.synthesis import synthesize
from asr_llm.corpus.terms.biasing_list import BiasingList
from asr_llm.errors import CheckpointError, ServerError
from asr_llm.jobs import serve as serving
from asr_llm.jobs.serve import Door
from asr_llm.model.adapter_folder import AdapterFolder
from asr_llm.serving.tls import Tls
from asr_llm.transcription.options import Recogniser, TranscribeOptions
from asr_llm.transcription.speech_llm import SpeechLLM

for needed in ("fastapi", "uvicorn", "python_multipart"):
    pytest.importorskip(needed, reason="needs the extra 'serve'")
pytest.importorskip("prometheus_client", reason="needs the extra 'serve'")
openai = pytest.importorskip("openai", reason="needs OpenAI's client, of the extra 'dev'")

from asr_llm.serving.app import Served  # noqa: E402

SOON = 120.0
OPTIONS = TranscribeOptions(num_beams=1)


@dataclass
class Server:
    process: subprocess.Popen[str]
    url: str
    uploads: Path

    def client(self, **options: Any) -> Any:
        return openai.OpenAI(
            base_url=self.url, api_key="none", max_retries=0, timeout=SOON, **options
        )

    def stop(self) -> tuple[int, str]:
        """Exit status, and what it said."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=SOON)
        return self.process.returncode, said


def start(model: Path, uploads: Path, *options: str) -> Server:
    uploads.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "asr_llm.cli", "serve", "--port", "0", "--model", model, *options],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(uploads)},
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith(f"Serving {model.name}"), line
    assert " at http" in line
    return Server(process, line.split(" at ")[1].split(";")[0], uploads)


@pytest.fixture(scope="module")
def server(lively: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = start(lively, tmp_path_factory.mktemp("uploads"), "--max-megabytes", "3")
    yield started
    status, said = started.stop()
    assert status == 0
    assert said.splitlines()[-1] == "Stopped"
    assert "Traceback" not in said
    assert kept(started) == []


@pytest.fixture(scope="module")
def client(server: Server) -> Any:
    return server.client()


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Recordings that all differ, the last one of half a minute."""
    folder = tmp_path_factory.mktemp("spoken")
    sentences = [f"Number {i}, {word}." for i, word in enumerate(("tea", "a cup", "the court"))]
    samples = [synthesize(sentence, "en-us").samples for sentence in sentences]
    samples.append(np.concatenate(samples * 4))
    paths = [folder / f"{i}.wav" for i in range(len(samples))]
    for path, some in zip(paths, samples, strict=True):
        soundfile.write(path, some, SAMPLE_RATE)
    return paths


@pytest.fixture(scope="module")
def texts(lively: Path, spoken: list[Path]) -> list[str]:
    """What the model writes for each, alone."""
    model = SpeechLLM.load(lively)
    found = [model.transcript(path).text for path in spoken]
    assert len(set(found)) == len(found)
    return found


def test_transcriptions(client: Any, spoken: list[Path], texts: list[str]) -> None:
    create = client.audio.transcriptions.create
    for path, text in zip(spoken, texts):
        assert create(file=path, model="model").text == text
    verbose = create(
        file=spoken[3],
        model="model",
        language="en",
        temperature=0.2,
        response_format="verbose_json",
        timestamp_granularities=["segment"],
    )
    assert verbose.text == " ".join(segment.text for segment in verbose.segments) == texts[3]
    assert verbose.segments[0].avg_logprob <= 0
    assert verbose.duration == pytest.approx(soundfile.info(spoken[3]).duration, abs=0.001)
    timed = create(
        file=spoken[3],
        model="model",
        response_format="verbose_json",
        timestamp_granularities=["word"],
    )
    assert [word.word for word in timed.words] == texts[3].split()
    assert timed.segments is None
    assert create(file=spoken[0], model="model", response_format="text") == texts[0] + "\n"
    srt = create(file=spoken[0], model="model", response_format="srt")
    assert srt.startswith("1\n00:00:00,")
    assert create(file=spoken[0], model="model", response_format="vtt").startswith("WEBVTT\n")


def test_the_documents_examples(
    server: Server,
    spoken: list[Path],
    texts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its lines for clients run, and print the text."""
    section = Path(__file__).parents[2].joinpath("docs/serving.md").read_text("utf-8")
    section = section.split("## Clients")[1].split("\n## ")[0]
    section = section.replace("http://localhost:8000/v1", server.url).replace("small", "model")
    shutil.copy(spoken[0], tmp_path / "visit.wav")
    monkeypatch.chdir(tmp_path)
    (python,) = re.findall(r"```python\n(.*?)```", section, re.S)
    exec(compile(python, "serving.md", "exec"), {})
    assert capsys.readouterr().out == texts[0] + "\n"
    if shutil.which("curl"):
        (line,) = re.findall(r"^curl .*$", section, re.M)
        done = subprocess.run(shlex.split(line), capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["text"] == texts[0]


def test_stream(client: Any, spoken: list[Path], texts: list[str]) -> None:
    events = list(client.audio.transcriptions.create(file=spoken[3], model="model", stream=True))
    assert [event.type for event in events[:-1]] == ["transcript.text.delta"] * (len(events) - 1)
    assert "".join(event.delta for event in events[:-1]) == texts[3]
    assert (events[-1].type, events[-1].text) == ("transcript.text.done", texts[3])


def test_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["model"]
    assert client.models.retrieve("model").id == "model"


def test_errors(client: Any, spoken: list[Path]) -> None:
    create = client.audio.transcriptions.create
    with pytest.raises(openai.NotFoundError) as unknown:
        create(file=spoken[0], model="whisper-1")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as bad:
        create(file=("a.wav", b"no audio"), model="model")
    assert bad.value.code == "invalid_audio"
    with pytest.raises(openai.BadRequestError, match="expected one that the model knows: en"):
        create(file=spoken[0], model="model", language="de")
    with pytest.raises(openai.APIStatusError) as large:
        create(file=("a.wav", bytes(4_000_000)), model="model")
    assert large.value.status_code == 413


def test_a_disconnecting_client_frees_its_place(server: Server, spoken: list[Path]) -> None:
    host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        wait_until(lambda: health(server)["requests"] == 1)
    wait_until(lambda: health(server)["requests"] == 0)


def test_forty_at_once(server: Server, spoken: list[Path], texts: list[str]) -> None:
    """None is lost, none gets another's text; they share batches of one model."""
    order = list(range(len(spoken))) * 10
    together = threading.Barrier(len(order))

    def ask(i: int) -> str:
        with server.client() as own:
            together.wait(SOON)
            return str(own.audio.transcriptions.create(file=spoken[i], model="model").text)

    with ThreadPoolExecutor(len(order)) as pool:
        found = list(pool.map(ask, order))
    assert found == [texts[i] for i in order]
    assert health(server) == {"status": "ready", "requests": 0, "places": 100}
    assert kept(server) == []


def test_a_stopping_server_finishes_open_requests(
    lively: Path, spoken: list[Path], tmp_path: Path
) -> None:
    server = start(lively, tmp_path / "uploads", "--queue", "1")
    with ThreadPoolExecutor() as pool:
        client = server.client()
        begun = pool.submit(
            client.audio.transcriptions.create, file=long(spoken), model="model", stream=True
        )
        wait_until(lambda: health(server)["requests"] == 1)
        with pytest.raises(openai.RateLimitError) as busy:
            client.audio.transcriptions.create(file=spoken[0], model="model")
        assert busy.value.response.headers["retry-after"] == "2"
        events = begun.result(SOON)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: health(server)["status"] == "stopping")
        with pytest.raises(openai.InternalServerError) as refused:
            client.audio.transcriptions.create(file=spoken[0], model="model")
        assert (refused.value.status_code, refused.value.code) == (503, "stopping")
        assert list(events)[-1].type == "transcript.text.done"
    _, said = server.process.communicate(timeout=SOON)
    assert server.process.returncode == 0
    assert said.splitlines()[-1] == "Stopped"


def test_grace_ends(lively: Path, spoken: list[Path], tmp_path: Path) -> None:
    server = start(lively, tmp_path / "uploads", "--grace", "0")
    with ThreadPoolExecutor() as pool:
        begun = pool.submit(
            server.client().audio.transcriptions.create, file=long(spoken), model="model"
        )
        wait_until(lambda: health(server)["requests"] == 1)
        server.process.send_signal(signal.SIGINT)
        with pytest.raises(openai.InternalServerError) as cut_off:
            begun.result(SOON)
        assert (cut_off.value.status_code, cut_off.value.code) == (503, "stopping")
    _, said = server.process.communicate(timeout=SOON)
    assert server.process.returncode == 0
    assert "Cancelling 1 request\n" in said
    assert said.splitlines()[-1] == "Stopped"
    assert kept(server) == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One for 127.0.0.1 that nobody signed, and its key, of which the password is 'p w'."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=x"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-passout", "pass:p w"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def test_keys_aliases_and_encryption(
    lively: Path,
    spoken: list[Path],
    texts: list[str],
    certificate: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    """The official client, with the certificate that it knows, the key, and an alias."""
    keys = tmp_path / "keys.txt"
    keys.write_text("# of the test\nsesame\n", "utf-8")
    options = ["--alias", "whisper-1=model", "--api-key-file", str(keys)]
    options += ["--cors-origin", "https://a.org", "--ssl-certfile", str(certificate[0])]
    options += ["--ssl-keyfile", str(certificate[1]), "--ssl-keyfile-password", "p w"]
    server = start(lively, tmp_path / "uploads", *options)
    assert server.url.startswith("https://127.0.0.1:")
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    trusting = openai.DefaultHttpxClient(verify=trusted)
    for key in ("sesam", "sesame"):
        client = openai.OpenAI(
            base_url=server.url, api_key=key, max_retries=0, timeout=SOON, http_client=trusting
        )
        if key == "sesame":
            break
        with pytest.raises(openai.AuthenticationError) as refused:
            client.audio.transcriptions.create(file=spoken[0], model="whisper-1")
        assert refused.value.code == "invalid_api_key"
    answer = client.audio.transcriptions.with_raw_response.create(
        file=spoken[0], model="whisper-1", extra_headers={"origin": "https://a.org"}
    )
    assert answer.parse().text == texts[0]
    assert answer.headers["access-control-allow-origin"] == "https://a.org"
    assert [model.id for model in client.models.list()] == ["model", "whisper-1"]
    status, said = server.stop()
    assert status == 0
    assert "sesam" not in said and "p w" not in said and "Traceback" not in said


def test_invalid_certificates_are_rejected(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate
    Tls(cert, key, "p w").check()
    Tls(cert, key, "p w", ca_certs=cert, cert_reqs=2, ciphers="ECDHE+AESGCM").check()
    for tls, message in (
        (Tls(tmp_path / "none.pem"), "none.pem: cannot be read"),
        (Tls(cert), "no certificate with its key"),
        (Tls(cert, cert, "p w"), "no certificate with its key"),
        (Tls(cert, key), "--ssl-keyfile-password"),
        (Tls(cert, key, "wrong"), "--ssl-keyfile-password"),
        (Tls(cert, key, "p w", ciphers="none"), "--ssl-ciphers is 'none'"),
        (Tls(cert, key, "p w", cert_reqs=2), "give --ssl-ca-certs"),
        (Tls(cert, key, "p w", ca_certs=key), "key.pem: no certificates"),
    ):
        with pytest.raises(ServerError, match=message):
            tls.check()


def test_a_never_ending_request_is_rejected(server: Server) -> None:
    """And who declares ten gigabytes is told at once that it is too much."""
    host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
    with socket.create_connection((host, int(port)), timeout=SOON) as connection:
        connection.sendall(b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Le")
        begun = time.monotonic()
        answer = everything(connection)
        assert answer.startswith(b"HTTP/1.1 408 ") and b'"request_too_slow"' in answer
        assert time.monotonic() - begun < 30
    with socket.create_connection((host, int(port)), timeout=SOON) as connection:
        connection.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        )
        answer = everything(connection)
        assert b" 413 " in answer and b'"file_too_large"' in answer
    wait_until(lambda: health(server)["requests"] == 0)


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    return b"".join(iter(lambda: connection.recv(4096), b""))


# Before it starts --------------------------------------------------------------------------


def test_a_port_that_is_taken(tiny: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ServerError, match=f"cannot listen at port {port} of 127.0.0.1 .*--port"
        ):
            serving.serve(Recogniser(str(tiny)), OPTIONS, Door(port=port), say=print)
    with pytest.raises(ServerError, match="of nowhere"):
        serving.serve(Recogniser(str(tiny)), OPTIONS, Door("nowhere.invalid"), say=print)


def test_model_names() -> None:
    options = TranscribeOptions(num_beams=2, word_timestamps=True)
    model: Any = SimpleNamespace(
        name="nvidia/canary-qwen-2.5b", adapters=("medical", "legal"), options=options
    )
    folders = [
        AdapterFolder(Path("runs/medical/adapter")),
        AdapterFolder(Path("runs/legal/adapter"), biasing=BiasingList(("Roe v. Wade",))),
    ]

    def using(*names: str) -> TranscribeOptions:
        return TranscribeOptions(adapters=names, num_beams=2, confidence=True)

    assert serving.served(model, folders) == {
        "nvidia/canary-qwen-2.5b": Served(using()),
        "medical": Served(using("medical")),
        "legal": Served(using("legal"), ("Roe v. Wade",)),
    }
    model.name = "medical"
    with pytest.raises(CheckpointError, match="both called 'medical'"):
        serving.served(model, folders)


def test_programs_that_name_the_former_default_get_small() -> None:
    small, medical = Served(), Served(TranscribeOptions(adapters=("medical",)))
    assert serving.with_former({"small": small}) == {"small": small, "mini": small}
    own = {"small": small, "mini": medical}
    assert serving.with_former(own) == own
    assert serving.with_former({"medical": medical}) == {"medical": medical}


def test_aliases() -> None:
    models = {"small": Served(), "medical": Served(TranscribeOptions(adapters=("medical",)))}
    found = serving.with_aliases(models, ["whisper-1=small", " gpt-4o-transcribe = medical "])
    assert found == models | {
        "whisper-1": models["small"],
        "gpt-4o-transcribe": models["medical"],
    }
    for alias, message in (
        ("whisper-1", "expected NAME=MODEL"),
        ("=small", "expected NAME=MODEL"),
        ("whisper-1=large", "no model 'large' here; expected one of small, medical"),
        ("small=medical", "'small' is taken"),
    ):
        with pytest.raises(ServerError, match=message):
            serving.with_aliases(models, [alias])
    with pytest.raises(ServerError, match="'a' is taken"):
        serving.with_aliases(models, ["a=small", "a=medical"])


def test_wrong_aliases_are_refused_before_the_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def load(*_: Any) -> SpeechLLM:
        raise AssertionError("loaded")

    monkeypatch.setattr(SpeechLLM, "of", load)
    for alias in ("foo", "foo=bar"):
        with pytest.raises(ServerError, match=f"--alias.*{alias}"):
            serving.serve(Recogniser("mini"), OPTIONS, Door(port=0), aliases=[alias], say=print)
    with pytest.raises(AssertionError, match="loaded"):
        serving.serve(Recogniser("mini"), OPTIONS, Door(port=0), aliases=["a=mini"], say=print)


def test_access_without_a_key(tmp_path: Path) -> None:
    assert Door("0.0.0.0").is_open and Door("192.168.1.7").is_open and Door("::").is_open
    assert not Door().is_open and not Door("localhost").is_open and not Door("::1").is_open
    assert not Door("0.0.0.0", key_file=tmp_path).is_open


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(
        ServerError,
        match=r"no uvicorn, which the server needs; install it: pip install 'asr-llm\[serve\]'",
    ):
        serving.serve(Recogniser(), OPTIONS, say=print)


def kept(server: Server) -> list[Path]:
    """Uploads that are on disk; libraries have files of their own there."""
    return list(server.uploads.glob("asr-llm-*"))


def health(server: Server) -> dict[str, Any]:
    url = server.url.removesuffix("v1") + "health"
    try:
        with urllib.request.urlopen(url) as response:
            found: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as refused:
        with refused:
            found = json.load(refused)
    return found


def long(spoken: list[Path]) -> tuple[str, bytes]:
    """Half a minute ten times over."""
    samples = np.concatenate([soundfile.read(spoken[3], dtype="float32")[0]] * 10)
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="FLAC")
    return "long.flac", file.getvalue()


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
