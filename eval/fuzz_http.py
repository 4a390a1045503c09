"""Fuzzes the server with malformed requests: does it answer each in time and bounded memory?

    python eval/fuzz_http.py [--requests 10000] [--seed 1] [--clients 8]

Starts ``asr-llm serve`` with a key on a free port of this machine, and sends it requests that are
broken in one of the ways below, drawn by the seed. Each must get a status that the case allows, and
every error of the server one JSON body with a message; nothing may take longer than 10 s (30 s for
deliberately slow clients), the server must print no traceback, and after every hundred requests a
valid one must give the same transcript as at the start. On a busy machine responses are late for
lack of CPU: these failures are counted separately. A request that fails is kept in
``runs/fuzz_http/`` with its case. Memory is the resident set.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from asr_llm.corpus.speech.synthesis import synthesize

KEY = "sesame"
ROUTE = "/v1/audio/transcriptions"
SECONDS, SLOW_SECONDS = 10.0, 30.0
LATE = 999  # stands for no answer in the longest time that is allowed
FAILURES = Path("runs/fuzz_http")
Address = tuple[str, int]


@dataclass(frozen=True)
class Sent:
    """A request as bytes, and its acceptable statuses; 0 is a closed connection."""

    case: str
    data: bytes
    statuses: tuple[int, ...]
    pause: float = 0.0  # in its middle
    slow: bool = False


def request(
    body: bytes,
    content_type: str = "multipart/form-data; boundary=x",
    method: str = "POST",
    path: str = ROUTE,
    headers: tuple[str, ...] = (f"Authorization: Bearer {KEY}",),
    length: int | str | None = None,
) -> bytes:
    told = [f"Content-Length: {len(body) if length is None else length}"]
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [*headers, f"Content-Type: {content_type}", *told]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def part(name: str, content: bytes, filename: str | None = None, more: str = "") -> bytes:
    named = "" if filename is None else f'; filename="{filename}"'
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{named}\r\n{more}\r\n'
    return head.encode("utf-8", "surrogateescape") + content + b"\r\n"


def form(audio: bytes, filename: str = "a.wav", **fields: str) -> bytes:
    parts = [part(name, value.encode("utf-8", "replace")) for name, value in fields.items()]
    return b"".join([*parts, part("file", audio, filename), b"--x--\r\n"])


# The ways to be broken ---------------------------------------------------------------------


class Cases:
    """Draws requests; one method per kind."""

    def __init__(self, draw: random.Random, audio: bytes) -> None:
        self.draw, self.audio = draw, audio
        self.kinds: list[Callable[[], Sent]] = [
            self.garbage, self.head, self.key, self.length, self.multipart, self.mutated,
            self.field, self.fields, self.filename, self.audio_bytes, self.bomb, self.path,
            self.charset, self.truncated, self.chunked,
        ]  # fmt: skip

    def next(self) -> Sent:
        # Slow clients take their time: one in five hundred.
        return self.slow() if self.draw.random() < 0.002 else self.draw.choice(self.kinds)()

    def bytes(self, most: int) -> bytes:
        return self.draw.randbytes(self.draw.randrange(most))

    def text(self, most: int) -> str:
        letters = 'abc \t"\\;=%&§é\u202e\U0001f600\0[]{}<>/.'
        return "".join(self.draw.choices(letters, k=self.draw.randrange(most)))

    def garbage(self) -> Sent:
        return Sent("garbage", self.bytes(3000) + b"\r\n\r\n", (400, 0))

    def head(self) -> Sent:
        odd = self.draw.choice([
            "X: " + "y" * 100_000, "Content-Length: 5", "Transfer-Encoding: gzip", ": x",
            "Expect: 100-continue", "Upgrade: websocket\r\nConnection: upgrade",
            "Range: bytes=0-", "X-Forwarded-For: ' OR 1", "Content-Encoding: br", "A" * 70_000,
        ])  # fmt: skip
        data = request(form(self.audio, model="mini"), headers=(odd,))
        return Sent("head", data, (200, 400, 401, 0))

    def key(self) -> Sent:
        wrong = self.draw.choice(
            ["", "Bearer", "Bearer " + self.text(50), "Basic c2VzYW1l", "\xff"]
        )
        wrong = wrong.replace("\0", "").replace("\r", "").replace("\n", "")
        header = (f"Authorization: {wrong}",)
        path = self.draw.choice([ROUTE, "/metrics", "/v1/models", "//metrics", "/V1/models"])
        return Sent("key", request(b"", path=path, headers=header), (401, 400))

    def length(self) -> Sent:
        told = self.draw.choice([10**10, 10**30, "-1", "1e3", "0x10", "٣", "", "9" * 5000, "+5"])
        return Sent("length", request(b"--x", length=told), (413, 400, 0))

    def multipart(self) -> Sent:
        boundary = self.draw.choice(
            ["", "; boundary=", "; boundary=y", '; boundary="', "; boundary=x"]
        )
        body = self.draw.choice([b"", b"--x", b"--x--", self.bytes(500), b"\r\n" * 5000])
        kind = "multipart/form-data" + boundary
        if self.draw.random() < 0.2:
            kind = self.draw.choice(
                ["application/json", "text/plain", "multipart/mixed", "x" * 999]
            )
        return Sent("multipart", request(body, kind), (400,))

    def mutated(self) -> Sent:
        body = bytearray(form(self.audio, model="mini", language="en"))
        for _ in range(self.draw.randrange(1, 20)):
            at = self.draw.randrange(min(len(body), 300))
            body[at : at + self.draw.randrange(3)] = self.bytes(4)
        return Sent("mutated", request(bytes(body)), (200, 400, 404))

    def field(self) -> Sent:
        name = self.draw.choice([
            "model", "language", "prompt", "response_format", "temperature", "stream",
            "timestamp_granularities[]", "chunking_strategy", "keywords[]", self.text(20),
        ])  # fmt: skip
        value = self.draw.choice(["", " ", "nan", "inf", "-1", "1e999", "[]", "{}", self.text(200)])
        fields = {"model": "mini"} | {name.replace('"', ""): value}
        return Sent("field", request(form(self.audio, **fields)), (200, 400, 404))

    def fields(self) -> Sent:
        some = part(self.draw.choice(["keywords[]", "prompt", "x"]), self.bytes(50))
        many = some * self.draw.choice([2, 900, 2000])
        large = part("prompt", b"a, " * 600_000) if self.draw.random() < 0.1 else b""
        head = b"".join(part("model", b"mini", more=f"X-{i}: y\r\n" * 20) for i in range(2))
        return Sent("fields", request(self.draw.choice([many, large, head]) + b"--x--"), (400,))

    def filename(self) -> Sent:
        name = self.draw.choice([
            "../../../tmp/fuzzed.wav", "/etc/passwd", "..\\..\\x.wav", "a\0.wav", "CON", "x" * 4000,
            "a.m3u8", "a.zip", "$(id).wav", "'; DROP TABLE", "\udcff.wav", self.text(60),
        ])  # fmt: skip
        name = name.replace('"', "").replace("\\", "\\\\")
        return Sent("filename", request(form(self.audio, name, model="mini")), (200, 400))

    def audio_bytes(self) -> Sent:
        audio = bytearray(self.audio)
        for _ in range(self.draw.randrange(1, 8)):
            audio[self.draw.randrange(80)] = self.draw.randrange(256)
        if self.draw.random() < 0.5:
            audio = audio[: self.draw.randrange(len(audio))]
        return Sent("audio", request(form(bytes(audio), model="mini")), (200, 400, 413))

    def bomb(self) -> Sent:
        kinds = (_zip, _playlist, _wav_of_65535_channels, _gzip, _silent_flac, _mp4)
        made = self.draw.choice(kinds)()
        return Sent("bomb", request(form(made, model="mini")), (400, 413, 200))

    def path(self) -> Sent:
        path = self.draw.choice([
            "/../../etc/passwd", "/page.js/../..", "/%2e%2e/%2e%2e/etc/passwd", "/v1/models/%00",
            "*", "http://elsewhere/", "/" + "a" * 60_000, "/v1/models/" + "é" * 9, "/?" + "a=" * 99,
        ])  # fmt: skip
        method = self.draw.choice(["GET", "POST", "HEAD", "DELETE", "OPTIONS", "CONNECT", "X" * 99])
        return Sent("path", request(b"", path=path, method=method), (200, 400, 404, 405, 0))

    def charset(self) -> Sent:
        names = ["punycode", "idna", "utf-16", "zlib", "undefined", "utf-7", "nothing", "\0"]
        kind = f"multipart/form-data; boundary=x; charset={self.draw.choice(names)}"
        return Sent("charset", request(part("model", b"a..\xff" * 50_000) + b"--x--", kind), (400,))

    def truncated(self) -> Sent:
        data = request(form(self.audio, model="mini"))
        cut = self.draw.randrange(len(data))
        return Sent("hangs up", data[:cut], (0, 400))

    def chunked(self) -> Sent:
        head = request(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        sizes = [b"5\r\n--x--\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"-1\r\nx\r\n", b"g\r\n"]
        sizes += [b"1\r\n-\r\n" * 3000 + b"0\r\n\r\n", b"5;" + b"e" * 70_000]
        return Sent("chunked", head + self.draw.choice(sizes), (400, 408, 0), slow=True)

    def slow(self) -> Sent:
        data = request(form(self.audio, model="mini"))
        at = self.draw.choice([20, len(data) // 2])
        return Sent("slow", data[:at], (408,), pause=SLOW_SECONDS, slow=True)


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../../tmp/fuzzed.wav", bytes(2_000_000))
    return file.getvalue()


def _gzip() -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(bytes(20_000_000)) + packer.flush()


def _playlist() -> bytes:
    return b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n"


def _wav_of_65535_channels() -> bytes:
    head = struct.pack("<HHIIHH", 1, 65535, 16000, 16000 * 2 * 65535 % 2**32, 65534, 16)
    return (
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + head + b"data\xff\xff\xff\xff" + bytes(500_000)
    )


def _silent_flac() -> bytes:
    """Half an hour of silence, a few kilobytes."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(30 * 60 * 8000, np.int16), 8000, format="FLAC")
    return file.getvalue()


def _mp4() -> bytes:
    """Boxes with false sizes."""
    return b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42" + b"\xff\xff\xff\xffmoov" + b"\0\0\0\x01" * 200


# Sending -----------------------------------------------------------------------------------


def send(address: Address, sent: Sent) -> tuple[int, bytes, float]:
    """Status (0 if the connection ended without one), body, and seconds."""
    begun, answer = time.monotonic(), b""
    try:
        with socket.create_connection(address, timeout=SLOW_SECONDS) as connection:
            connection.sendall(sent.data)
            if sent.case in ("hangs up", "garbage"):
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
    except TimeoutError:
        answer = answer or b"HTTP/1.1 %d none" % LATE
    except OSError:
        pass  # sent away while it still sent
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split()
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return status, body, time.monotonic() - begun


def problem_of(sent: Sent, status: int, body: bytes, seconds: float) -> str | None:
    """What is wrong with a response; None if nothing is."""
    if status == LATE or seconds > (SLOW_SECONDS if sent.slow else SECONDS):
        return f"late: {seconds:.0f} s"
    if status not in sent.statuses and not (status == 0 and sent.case == "head"):
        return f"status {status}"
    if status >= 400 and not (sent.case == "path" and body == b""):  # of HEAD
        try:
            told = json.loads(body)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            return f"body {body[:60]!r}"
        return None if told and "Traceback" not in told else "no message"
    return None


def main() -> None:
    """Print a Markdown table; exit status 1 if anything failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--model", default="mini")
    arguments = parser.parse_args()
    file = io.BytesIO()
    soundfile.write(file, synthesize("Two teas.", "en-us").samples, 16000, format="WAV")
    cases = Cases(random.Random(arguments.seed), file.getvalue())
    drawn = [cases.next() for _ in range(arguments.requests)]
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(_fuzz(arguments, drawn, file.getvalue(), Path(folder)))


def _fuzz(arguments: argparse.Namespace, drawn: list[Sent], audio: bytes, folder: Path) -> int:
    process, address, log = _start(arguments, folder)
    good = Sent("good", request(form(audio, model=arguments.model)), (200,))
    before, first = send(address, good)[1], _mib(process.pid)
    counts: dict[str, Counter[int]] = {}
    worst: Counter[str] = Counter()
    failures: list[str] = []
    lock = threading.Lock()

    def one(item: tuple[int, Sent]) -> None:
        number, sent = item
        status, body, seconds = send(address, sent)
        wrong = problem_of(sent, status, body, seconds)
        if number % 100 == 0 and (again := send(address, good))[1] != before:
            late = "late: a" if again[0] == LATE else "a"
            wrong = f"{late} good request was answered otherwise, by {again[0]}"
        with lock:
            counts.setdefault(sent.case, Counter())[status] += 1
            worst[sent.case] = max(worst[sent.case], round(seconds * 1000))
            if wrong:
                failures.append(f"{number} {sent.case}: {wrong}")
                FAILURES.mkdir(parents=True, exist_ok=True)
                (FAILURES / f"{number}-{sent.case}").write_bytes(sent.data)

    begun = time.monotonic()
    with ThreadPoolExecutor(arguments.clients) as pool:
        list(pool.map(one, enumerate(drawn, start=1)))
    taken, last = time.monotonic() - begun, _mib(process.pid)
    process.send_signal(signal.SIGTERM)
    status = process.wait()
    said = log.read_text("utf-8", "replace")
    if status or "Traceback" in said or "unexpected" in said:
        failures.append(f"the server's exit status is {status}; its log: {log_problems(said)}")
    late = sum(": late" in failure for failure in failures)
    print(
        f"{len(drawn)} requests, seed {arguments.seed}, {taken:.0f} s; {len(failures)} failures, "
        f"{late} of them late; MiB {first} at first, {last} at the end; files left: "
        f"{len(list(folder.glob('uploads/asr-llm-*')))}\n"
    )
    print("| case | answers | slowest |")
    print("|---|---|---|")
    for case, found in sorted(counts.items()):
        answers = ", ".join(
            f"{count} × {status or 'ended'}" for status, count in sorted(found.items())
        )
        print(f"| {case} | {answers} | {worst[case] / 1000:.1f} s |")
    for failure in failures[:50]:
        print(failure, file=sys.stderr)
    return int(bool(failures))


def log_problems(said: str) -> str:
    return "; ".join(line for line in said.splitlines() if "Trace" in line or "unexp" in line)[:300]


def _start(
    arguments: argparse.Namespace, folder: Path
) -> tuple[subprocess.Popen[str], Address, Path]:
    import os

    keys, log, uploads = folder / "keys", folder / "log.txt", folder / "uploads"
    keys.write_text(KEY + "\n", "ascii")
    uploads.mkdir()
    command = [sys.executable, "-m", "asr_llm.cli", "serve", "--port", "0", "--beam-size", "1"]
    command += ["--model", arguments.model, "--api-key-file", str(keys), "--max-seconds", "600"]
    with log.open("w") as file:
        environment = os.environ | {"TMPDIR": str(uploads)}
        process = subprocess.Popen(command, stderr=file, text=True, env=environment)
    while " at http" not in (said := log.read_text()):
        if process.poll() is not None:
            sys.exit(said)
        time.sleep(0.1)
    host, port = said.split("://")[1].split("/v1")[0].split(":")
    return process, (host, int(port)), log


def _mib(pid: int) -> int:
    """Resident set of a process; Linux only."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


if __name__ == "__main__":
    main()
