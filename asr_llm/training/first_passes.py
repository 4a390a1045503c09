"""First passes of the recordings that a recipe trains on, computed once and cached.

They are stored in the user's cache (kind ``first_passes``) by content: the folder is a hash of the
Whisper model, the file one of the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lhotse.utils import fastcopy

from asr_llm.corpus.recordings.audio import cut_audio
from asr_llm.corpus.speech import cache
from asr_llm.model import checkpoints, first_pass
from asr_llm.sequences.batching import content_key

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from asr_llm.model.salm import SpanSALM

KIND = "first_passes"
_AT_ONCE = 240.0  # seconds of audio in memory

Hear = Callable[[Sequence["Cut"]], list["Cut"]]


def hearer(base: Path, model: SpanSALM, say: Callable[[str], None] | None) -> Hear | None:
    """The first-pass writer of the model in folder ``base``; None if it has none.

    Args:
        say: called with a line on how much there is to transcribe.

    Raises:
        CheckpointError: its first pass cannot be read.
    """
    if model.chat.first_pass_prompt is None:
        return None

    def hear(cuts: Sequence[Cut]) -> list[Cut]:
        """The same cuts, each with a first pass; those of a manifest are kept."""
        lacking = [cut for cut in cuts if not _first_pass(cut)]
        if not lacking:
            return list(cuts)
        own = cache.folder(KIND) / _identity(base)
        own.mkdir(mode=0o700, exist_ok=True)
        texts = dict(_heard(lacking, own, base, model, say))
        return [_with(cut, texts[cut.id]) if cut.id in texts else cut for cut in cuts]

    return hear


def _heard(
    cuts: Sequence[Cut],
    own: Path,
    base: Path,
    model: SpanSALM,
    say: Callable[[str], None] | None,
) -> Iterator[tuple[str, str]]:
    """(cut id, text) of each cut, from the cache or newly transcribed."""
    writer = None
    for some in _portions(cuts):
        audios = [cut_audio(cut) for cut in some]
        paths = [own / f"{content_key(audio)}.txt" for audio in audios]
        new = [i for i, path in enumerate(paths) if not path.is_file()]
        if new:
            if writer is None:
                writer = first_pass.of(base, model)
                if say is not None:
                    minutes = sum(cut.duration for cut in cuts) / 60
                    say(f"writing first passes over {minutes:.0f} minutes of recordings")
            assert writer is not None  # the chat has a prompt for one
            for i, text in zip(new, writer.write([audios[i] for i in new])):
                paths[i].write_text(text, "utf-8")
        yield from ((cut.id, path.read_text("utf-8")) for cut, path in zip(some, paths))


def _portions(cuts: Sequence[Cut]) -> Iterator[list[Cut]]:
    portion: list[Cut] = []
    for cut in sorted(cuts, key=lambda cut: cut.duration):
        portion.append(cut)
        if len(portion) * cut.duration >= _AT_ONCE:
            yield portion
            portion = []
    if portion:
        yield portion


def _first_pass(cut: Cut) -> str | None:
    return (cut.supervisions[0].custom or {}).get("first_pass")


def _with(cut: Cut, text: str) -> Cut:
    own = cut.supervisions[0]
    custom = {**(own.custom or {}), "first_pass": text}
    return fastcopy(cut, supervisions=[fastcopy(own, custom=custom)])


def _identity(base: Path) -> str:
    return checkpoints.identity(base / first_pass.FOLDER)[:16]
