"""Decodes on a Ray cluster: the driver gives work to actors, and keeps what they send back.

An actor takes as much as fits the work that is left, longest recordings first, and sends every pool
of chunks as soon as it is decoded. Only the driver writes. When an actor dies, Ray starts another,
and what it had not sent is given out again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_llm.corpus.recordings.audio import Source, duration
from asr_llm.errors import AsrLlmError, AudioError, RunError
from asr_llm.transcription.inputs import distinct
from asr_llm.transcription.journal import Journal
from asr_llm.transcription.options import Cluster, Recogniser, TranscribeOptions
from asr_llm.transcription.pipeline import Meter, Progress
from asr_llm.transcription.ray_cluster import connect, shares
from asr_llm.transcription.transcript import Segment, Transcript
from asr_llm.transcription.worker import Item, ItemDone, Setup, Worker

if TYPE_CHECKING:
    from lhotse import CutSet

_JOB_SECONDS = 3600.0  # most of a job: what an actor leaves undone is later decoded file by file
_MOST_DEATHS = 3

Journals = Callable[[Source], Journal]


class Work:
    """Items that wait for an actor, longest first."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = deque(sorted(items, key=lambda item: -item.seconds))
        self.seconds = sum(item.seconds for item in self.items)

    def take(self, actors: int) -> list[Item]:
        """The next job: half of an actor's share of the seconds left, at least one item.

        So jobs get shorter towards the end, where the actors should stop together. An item at which
        an actor died is a job of its own.
        """
        most = min(_JOB_SECONDS, self.seconds / (2 * actors))
        job = [self.items.popleft()]
        seconds = job[0].seconds
        while self.items and not (job[-1].deaths or self.items[0].deaths):
            if seconds + self.items[0].seconds > most:
                break
            job.append(self.items.popleft())
            seconds += job[-1].seconds
        self.seconds -= seconds
        return job

    def put_back(self, items: Iterable[Item]) -> None:
        """Return what an actor left undone; it comes first."""
        for item in items:
            item.deaths += 1
            self.items.appendleft(item)
            self.seconds += item.seconds


class Fleet:
    """Actors that decode, with the methods of ``SpeechLLM`` for many recordings.

    Args:
        cluster: where.
        recogniser, options: of each actor.
        worker: what the actors are.

    Raises:
        RunError: Ray is not installed, there is no such cluster, or every actor dies.
        CheckpointError: the model or an adapter does not load in an actor.
    """

    def __init__(
        self,
        cluster: Cluster,
        recogniser: Recogniser,
        options: TranscribeOptions,
        worker: type[Worker] = Worker,
    ) -> None:
        self.ray: Any = connect(cluster)
        setup = Setup.here(recogniser, options)
        self.size, each = shares(self.ray, cluster)
        made = self.ray.remote(worker).options(max_restarts=-1, **each)
        self._start = lambda: made.remote(setup)
        self.actors = [self._start()]
        self.word_times = bool(self._answer(self._wake(self.actors[0])))

    def transcribe_many(
        self,
        paths: Iterable[str | Path | Source],
        on_done: Progress | None = None,
        journal: Journals | None = None,
        on_segment: Callable[[Segment], None] | None = None,
    ) -> Iterator[Transcript | AudioError]:
        """As ``SpeechLLM.transcribe_many``; a file's segments come when it is done."""
        sources = [*map(Source.of, paths)]
        items = [Item(i, one, duration(one.path)) for i, one in enumerate(sources)]
        for done in in_order(self.decode(items, on_done, journal)):
            if on_segment is not None and isinstance(done.result, Transcript):
                for segment in done.result.segments:
                    on_segment(segment)
            yield done.result

    def transcribe_cuts(self, cuts: CutSet, progress: Progress | None = None) -> dict[str, str]:
        """As ``SpeechLLM.transcribe_cuts``.

        Raises:
            AudioError: the audio of a cut cannot be read.
            ScoreError: two cuts have the same id.
        """
        some = distinct(cuts)
        items = [Item(i, cut, cut.duration) for i, cut in enumerate(some)]
        texts: dict[str, str] = {}
        for done in self.decode(items, progress):
            if isinstance(done.result, AudioError):
                raise done.result
            texts[some[done.number].id] = done.result.text
        return texts

    def decode(
        self, items: list[Item], on_done: Progress | None = None, journal: Journals | None = None
    ) -> Iterator[ItemDone]:
        """Yield the end of each item, once, as they are done.

        Raises:
            RunError: every actor dies before it has loaded its model.
            CheckpointError: see the class.
        """
        from ray.exceptions import RayError, RayTaskError

        work, keeper = Work(items), _Keeper(items, on_done, journal)
        while len(self.actors) < min(self.size, len(items)):
            self.actors.append(self._start())
        waking: dict[Any, Any] = {self._wake(actor): actor for actor in self.actors}
        running: dict[Any, tuple[Any, list[Item]]] = {}
        idle: list[Any] = []
        while work.items or running:
            while work.items and idle:
                actor, job = idle.pop(), work.take(len(self.actors))
                keeper.open(job)
                running[actor.decode.options(num_returns="streaming").remote(job)] = actor, job
            (one,), _ = self.ray.wait([*running, *waking], num_returns=1)
            if one in waking:
                actor = waking.pop(one)
                if self._answer(one, actor) is not None:
                    idle.append(actor)
                continue
            actor, job = running[one]
            try:
                yield from keeper.keep(self.ray.get(next(one)))
            except StopIteration:
                del running[one]
                idle.append(actor)
            except RayTaskError as error:
                raise _cause(error) from error
            except RayError:
                del running[one]
                waking[self._wake(actor)] = actor
                work.put_back(keeper.left(job))
                yield from keeper.give_up(work)

    def _wake(self, actor: Any) -> Any:
        """Ask an actor to load its model, again where it dies of it."""
        return actor.ready.options(max_task_retries=_MOST_DEATHS).remote()

    def _answer(self, reference: Any, actor: Any = None) -> bool | None:
        """The answer of ``Worker.ready``; None if this actor will never answer, but others may."""
        from ray.exceptions import RayError, RayTaskError

        try:
            answer: bool = self.ray.get(reference)
        except RayTaskError as error:
            raise _cause(error) from error
        except RayError as error:
            if actor in self.actors:
                self.actors.remove(actor)
            if actor is not None and self.actors:
                return None
            raise RunError(
                f"the actors die while they load the model ({type(error).__name__}); a machine of "
                "the cluster may lack memory: try fewer, with --ray-actors"
            ) from error
        return answer


class _Keeper:
    """What the driver knows of each item: its journal, chunks and end."""

    def __init__(
        self, items: list[Item], on_done: Progress | None, journal: Journals | None
    ) -> None:
        self.items = {item.number: item for item in items}
        self.meter = Meter(sum(item.seconds for item in items), on_done)
        self.journal, self.journals = journal, dict[int, Journal]()
        self.counted = dict.fromkeys(self.items, 0.0)

    def open(self, job: list[Item]) -> None:
        """Read the journals of a job, as far as they are not known."""
        for item in job:
            if self.journal and item.number not in self.journals and isinstance(item.what, Source):
                self.journals[item.number] = self.journal(item.what)
                item.known.update(self.journals[item.number].known)

    def keep(self, events: list[Any]) -> Iterator[ItemDone]:
        """Store what an actor sends."""
        for event in events:
            item = self.items.get(event.number)
            if item is None:  # it ended before
                continue
            if isinstance(event, ItemDone):
                del self.items[item.number]
                self.journals.pop(item.number, None)
                self.meter.add(max(0.0, item.seconds - self.counted.pop(item.number)))
                yield event
            elif (event.start, event.end) not in item.known:
                item.known[event.start, event.end] = event.chunk
                item.deaths = 0
                if item.number in self.journals:
                    self.journals[item.number].add(event, event.chunk)
                self.counted[item.number] += event.seconds
                self.meter.add(event.seconds)

    def left(self, job: list[Item]) -> list[Item]:
        """The items of a job that have not ended."""
        return [item for item in job if item.number in self.items]

    def give_up(self, work: Work) -> Iterator[ItemDone]:
        """End items at which too many actors have died."""
        for item in [item for item in work.items if item.deaths >= _MOST_DEATHS]:
            work.items.remove(item)
            work.seconds -= item.seconds
            name = item.what.path if isinstance(item.what, Source) else f"cut {item.what.id}"
            error = AudioError(
                f"{name}: {item.deaths} actors died while decoding it; a machine of the cluster "
                "may lack memory"
            )
            yield from self.keep([ItemDone(item.number, error)])


def in_order(ends: Iterable[ItemDone]) -> Iterator[ItemDone]:
    """Yield by number, each as soon as those before it are there."""
    waiting: dict[int, ItemDone] = {}
    number = 0
    for end in ends:
        waiting[end.number] = end
        while number in waiting:
            yield waiting.pop(number)
            number += 1


def longest_first(files: list[Path]) -> list[Path]:
    """Files in the order in which a cluster decodes them."""
    return sorted(files, key=lambda file: -duration(file))


def _cause(error: Any) -> Exception:
    """The user's mistake in an actor's error, or the error itself."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, AsrLlmError) else error
