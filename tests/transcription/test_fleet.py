"""Decoding on a cluster: who gets what, and what becomes of it when actors and the driver die."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from asr_llm.corpus.recordings.audio import Source
from asr_llm.errors import AudioError, RunError
from asr_llm.transcription import ray_cluster
from asr_llm.transcription.fleet import Fleet, Work, _Keeper, in_order
from asr_llm.transcription.journal import Journals
from asr_llm.transcription.options import Cluster, Recogniser, TranscribeOptions
from asr_llm.transcription.transcript import DecodedChunk, Transcript
from asr_llm.transcription.worker import ChunkDone, Item, ItemDone, Setup, Worker

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


def items(*seconds: float) -> list[Item]:
    return [Item(i, Source(Path(f"{i}.wav")), one) for i, one in enumerate(seconds)]


def numbers(job: list[Item]) -> list[int]:
    return [item.number for item in job]


# Without a cluster ------------------------------------------------------------------------


def test_the_longest_come_first_and_jobs_get_shorter() -> None:
    """Of 80 s and two actors, 20 s are a job: half of a share. Of the 40 s left, 10 s are."""
    work = Work(items(5, 10, 5, 40, 20))
    assert [numbers(work.take(2)) for _ in range(5)] == [[3], [4], [1], [0], [2]]
    work = Work(items(*[1.0] * 16))
    assert [len(work.take(2)) for _ in range(9)] == [4, 3, 2, 1, 1, 1, 1, 1, 1]


def test_nothing_that_killed_an_actor_is_in_a_job_with_others() -> None:
    work = Work(items(*[1.0] * 40))
    job = work.take(1)
    assert len(job) == 20
    work.put_back(job[:2])
    assert [len(work.take(1)) for _ in range(3)] == [1, 1, 10]


def test_ends_are_put_in_order() -> None:
    ends = [ItemDone(i, AudioError(str(i))) for i in (2, 0, 1, 3)]
    assert [end.number for end in in_order(ends)] == [0, 1, 2, 3]
    first = in_order(iter(ends[1:2]))
    assert next(first).number == 0  # at once


def test_what_comes_twice_is_kept_once(tmp_path: Path) -> None:
    """As from an actor that was thought dead."""
    (item,) = items(4.0)
    journals, seconds = Journals(tmp_path, {}), list[float]()
    keeper = _Keeper([item], lambda done, total: seconds.append(done), journals)
    keeper.open([item])
    heard = ChunkDone(0, 0, 16000, 1.0, DecodedChunk("one"))
    assert list(keeper.keep([heard])) == list(keeper.keep([heard])) == []
    rows = [json.loads(line) for line in (tmp_path / ".0.journal").read_text().splitlines()]
    assert [row.get("text") for row in rows[1:]] == ["one"]
    end = ItemDone(0, AudioError("x"))
    assert list(keeper.keep([end, end])) == [end]
    assert seconds == [1.0, 4.0]
    assert journals(item.what).known == {(0, 16000): DecodedChunk("one")}


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"^no Ray, .*pip install 'asr-llm\[ray\]'$"):
        ray_cluster.connect(Cluster("local"))


def test_an_address_where_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself would wait for minutes."""
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(RunError, match=rf"--ray {address}: no Ray cluster answers \(Connection"):
        ray_cluster.connect(Cluster(address))
    with pytest.raises(RunError, match="run the command on a machine of the cluster"):
        ray_cluster.connect(Cluster("ray://head:10001"))


def test_a_head_that_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray says only that it failed to connect."""

    def init(address: str, **how: Any) -> None:
        raise ConnectionError(f"Failed to connect to Ray cluster at {address}")

    inner = SimpleNamespace(worker=SimpleNamespace())
    fake = SimpleNamespace(is_initialized=lambda: False, _private=inner, init=init)
    fake.__version__ = "2.60.0"
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: True)
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        address = f"127.0.0.1:{head.getsockname()[1]}"
        with pytest.raises(RunError, match=r"it answers, .*RAY_AUTH_MODE=token.*Ray than 2\.60\.0"):
            ray_cluster.connect(Cluster(address))


def test_actors_need_a_cluster() -> None:
    from asr_llm.cli.options import cluster_of

    assert cluster_of(None, None) is None
    assert cluster_of("local", 2) == Cluster("local", 2)
    with pytest.raises(RunError, match="--ray-actors requires --ray"):
        cluster_of(None, 2)


def test_a_file_that_only_the_driver_has(tmp_path: Path) -> None:
    """One that nobody can read is reported as in one process."""
    from asr_llm.transcription.worker import _not_here

    gone = Source(tmp_path / "gone.wav")
    assert "expected a folder that all machines of the cluster share" in str(_not_here(gone, 2.0))
    assert _not_here(gone, 0.0) is None


# Real actors, which only pretend to listen -------------------------------------------------

CHUNKS = 6


class Pretender(Worker):
    """Sends six chunks of each item, and dies where the name of the file says so.

    Of a risky file it dies once, after three chunks.
    """

    def ready(self) -> bool:
        return False

    def decode(self, items: Sequence[Item]) -> Iterator[list[ChunkDone | ItemDone]]:
        for item in items:
            assert isinstance(item.what, Source)
            name = item.what.path.stem
            for i in range(CHUNKS):
                if (i, i + 1) in item.known:
                    continue
                mark = item.what.path.with_suffix(".dead")
                if "deadly" in name or ("risky" in name and i == 3 and not mark.exists()):
                    mark.touch()
                    time.sleep(0.2)  # what was sent arrives
                    os._exit(1)
                yield [ChunkDone(item.number, i, i + 1, 1.0, DecodedChunk(f"{name} {i}"))]
            yield [ItemDone(item.number, Transcript(item.what.path, CHUNKS, (), name))]


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    ray = ray_cluster.connect(Cluster("local", 2))
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    setup = Setup(Recogniser("none"), TranscribeOptions(), (), os.getcwd())
    monkeypatch.setattr(Setup, "here", lambda recogniser, options: setup)
    yield Fleet(Cluster("local", 2), setup.recogniser, setup.options, Pretender)
    ray.shutdown()


@needs_ray
@pytest.mark.slow
def test_actors_die_and_come_back(
    fleet: Fleet, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every chunk is heard once, however often an actor died; only what kills each is given up."""
    names = [*(f"plain{i}" for i in range(6)), "risky", "deadly"]
    paths = [tmp_path / f"{name}.wav" for name in names]
    for path in paths:
        soundfile.write(path, np.zeros(16000 * CHUNKS, np.int16), 16000)
    journals, seconds = Journals(tmp_path, {}), list[float]()
    found = list(fleet.transcribe_many(paths, lambda done, total: seconds.append(done), journals))
    texts = [one.model if isinstance(one, Transcript) else str(one) for one in found]
    assert texts[:-1] == names[:-1]
    assert "deadly.wav: 3 actors died while decoding it" in texts[-1]
    for path in paths[:-1]:
        rows = [json.loads(line) for line in (tmp_path / f".{path.stem}.journal").open()]
        assert [row["text"] for row in rows[1:]] == [f"{path.stem} {i}" for i in range(CHUNKS)]
    assert seconds[-1] == CHUNKS * len(paths)
    assert capfd.readouterr().out == ""
    listening = {
        one.laddr.ip
        for one in psutil.net_connections("tcp")
        if one.status == "LISTEN"
        and one.pid in {child.pid for child in psutil.Process().children(recursive=True)}
    }
    assert {ip.removeprefix("::ffff:") for ip in listening} <= {"127.0.0.1", "::1"}


# The real command line ----------------------------------------------------------------------


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "asr_llm.cli", *map(str, arguments)]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Recordings of 6 s to 3 minutes; noise is speech to the energy detector."""
    place = tmp_path / "calls"
    place.mkdir()
    for i in range(10):
        count = 1 + (7 * i) % 10 * (3 if i % 2 else 1)
        samples = np.random.default_rng(i).normal(0, 0.1, (count, 6 * 16000))
        samples[:, 5 * 16000 :] = 0
        soundfile.write(place / f"call{i}.flac", samples.reshape(-1), 16000)
    (place / "call1.flac").write_bytes((place / "call1.flac").read_bytes()[:100_000])
    return place


def actors_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if " ".join(child.cmdline()).startswith("ray::Worker")]


def rows_of(place: Path) -> dict[str, list[tuple[int, int]]]:
    """The chunks in each journal."""
    found = {}
    for path in place.glob(".*.journal"):
        lines = path.read_text("utf-8").split("\n")[1:-1]
        found[path.name] = [(row["start"], row["end"]) for row in map(json.loads, lines)]
    return found


@needs_ray
@pytest.mark.slow
def test_killed_at_random_it_writes_what_one_process_does(
    calls: Path, lively: Path, tmp_path: Path
) -> None:
    """An actor is killed, then the driver; run again, nothing is lost or done twice."""
    options = ["transcribe", calls, "--model", lively, "--vad", "energy", "--beam-size", "2"]
    options += ["-f", "txt,json,srt"]
    dice = random.Random(time.time_ns())
    with tempfile.TemporaryDirectory(prefix="ray") as logs:
        environment = os.environ | {"RAY_TMPDIR": logs}
        quiet: dict[str, Any] = {"cwd": tmp_path, "env": environment, "capture_output": True}
        alone = subprocess.run(command(*options, "-o", "peace"), **quiet, check=False)
        peace = {path.name: path.read_bytes() for path in (tmp_path / "peace").glob("call*")}
        assert len(peace) == 27, alone.stderr  # one of ten cannot be read

        war, cluster = tmp_path / "war", ["-o", "war", "--ray", "local", "--ray-actors", "2"]
        process = subprocess.Popen(
            command(*options, *cluster), cwd=tmp_path, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_for(process, lambda: len(rows_of(war)) > 0)
        victim = dice.choice(actors_of(process))
        victim.kill()
        wait_for(process, lambda: len([*war.glob("call*.json")]) >= 2)
        actors = actors_of(process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        _, alive = psutil.wait_procs(actors, timeout=30)
        assert not alive
        before = rows_of(war)
        assert all(max(Counter(rows).values(), default=1) == 1 for rows in before.values())
        dates = {path.name: path.stat().st_mtime_ns for path in war.glob("call*")}
        again = subprocess.run(command(*options, *cluster), **quiet, check=False)
        assert again.returncode == alone.returncode == 3, again.stderr
        assert {path.name: path.read_bytes() for path in war.glob("call*")} == peace
        assert not rows_of(war)
        finished = {name for name in dates if name.endswith(".srt")}  # the last of each
        assert {name: (war / name).stat().st_mtime_ns for name in finished} == {
            name: dates[name] for name in finished
        }

        printed = subprocess.run(command(*options[:-2], *cluster[2:]), **quiet, check=False)
        shown = subprocess.run(command(*options[:-2]), **quiet, check=False)
        assert printed.stdout == shown.stdout != b""
        texts = [json.loads(data)["text"] for name, data in peace.items() if "json" in name]
        assert sum(len(text) > 20 for text in texts) >= 5
        logged = [path for path in Path(logs).rglob("*") if path.is_file()]
        assert logged
        for path in logged:
            data = path.read_bytes()
            assert not any(text[:20].encode() in data for text in texts if len(text) > 20), path


def wait_for(process: subprocess.Popen[bytes], happened: Any) -> None:
    until = time.monotonic() + 300
    while not happened():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            pytest.fail(f"it ended too early: {process.communicate()[1].decode()[-2000:]}")
        time.sleep(0.005)


@needs_ray
@pytest.mark.slow
def test_evaluated_on_a_cluster(lively: Path, tmp_path: Path) -> None:
    rows = []
    for i, seconds in enumerate((1, 3, 2)):
        noise = np.random.default_rng(i).normal(0, 0.1, seconds * 16000)
        soundfile.write(tmp_path / f"{i}.wav", noise, 16000)
        rows.append(f"{i}.wav\tWe sell tea.\n")
    (tmp_path / "trans.txt").write_text("".join(rows), "utf-8")
    options = ["evaluate", tmp_path / "trans.txt", "--model", lively, "--json"]
    for more in (["-o", "one"], ["-o", "two", "--ray", "local", "--ray-actors", "2"]):
        done = subprocess.run(command(*options, *more), cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stderr
    one, two = (tmp_path / name / "hypotheses" / "base.domain.jsonl" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes() != b""
