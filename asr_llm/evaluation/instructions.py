"""Spoken instructions: are they followed as well as written ones?

A small version of SpeechInstructBench (arXiv 2503.02769): closed-ended instructions, each checked
by a rule (``checkers``), given as text and as speech in several variants. A correction is followed
if what it asks for is done, and not what it takes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from asr_llm.errors import SuiteError
from asr_llm.evaluation.checkers import words_in
from asr_llm.evaluation.demands import Demand
from asr_llm.evaluation.significance import paired_bootstrap, rate_interval
from asr_llm.evaluation.suites import read_config, read_rows
from asr_llm.yaml_lines import Strict

Variant = Literal["standard", "noisy", "accented", "disfluent", "corrected"]
_ECHO = 0.6  # "Apple, pear, plum" for "Say the words apple, pear, plum in this order" has 0.5
RECORDED: tuple[Variant, ...] = ("standard", "noisy")
"""What can be made of a recording."""


@dataclass(frozen=True)
class Prompt:
    """What is asked for, and how it is checked."""

    text: str
    demands: tuple[Demand, ...]


@dataclass(frozen=True)
class Instruction:
    """One prompt of a suite; ``superseded`` is the earlier request that it corrects, if any."""

    id: str
    prompt: Prompt
    superseded: Prompt | None = None
    audio: Path | None = None
    """A recording of the prompt, in place of the synthesiser's."""


class InstructionsConfig(Strict):
    """A suite's YAML."""

    name: str = Field(min_length=1)
    instructions: str = Field(description="JSON lines, or a JSON list; relative to this file")
    variants: list[Variant] = Field(["standard"], min_length=1)
    voices: list[str] = Field(["en-us"], min_length=1)
    accents: list[str] = Field(
        ["en-gb-scotland", "en-029"], min_length=1, description="voices of the variant accented"
    )
    snr: float = Field(10.0, description="dB, of the variant noisy")
    max_new_tokens: int = Field(128, gt=0)


@dataclass(frozen=True)
class InstructionSuite:
    """Instructions, and how they are given."""

    config: InstructionsConfig
    instructions: tuple[Instruction, ...]


def read_instructions(path: str | Path, variants: Sequence[str] = ()) -> InstructionSuite:
    """A suite from its YAML, or from a bare file of instructions with the standard variant.

    Args:
        variants: in place of the suite's own, if any.

    Instructions come as JSON lines or as one JSON list, in the layout of IFEval and of the
    closed-ended part of SpeechInstructBench: ``prompt``, ``instruction_id_list``, ``kwargs`` (the
    arguments of each), and where there are any ``key`` (or ``id``), ``audio_path`` (or ``audio``)
    and, of ours, ``superseded``: the prompt that it corrects, in the same layout.

    Raises:
        SuiteError: it is missing or malformed; the message names file and line.
    """
    path = Path(path)
    config, source = read_config(path, InstructionsConfig, "instructions")
    if variants:
        if unknown := next((name for name in variants if name not in get_args(Variant)), None):
            known = ", ".join(get_args(Variant))
            raise SuiteError(f"unknown variant {unknown!r}; expected one of {known}")
        config = config.model_copy(update={"variants": list(variants)})
    found = tuple(_rows(source))
    if not found:
        raise SuiteError(f"{source}: no instructions; expected a JSON object in each line")
    ids = [one.id for one in found]
    if twice := next((i for i in ids if ids.count(i) > 1), None):
        raise SuiteError(f"{source}: key {twice!r} is given twice; expected one prompt for a key")
    _check_variants(path, config, found)
    return InstructionSuite(config, found)


def _check_variants(path: Path, config: InstructionsConfig, found: Sequence[Instruction]) -> None:
    recorded = next((one.id for one in found if one.audio), None)
    if recorded and (others := [v for v in config.variants if v not in RECORDED]):
        raise SuiteError(
            f"{path}: variants: {', '.join(others)}: {recorded!r} is a recording; expected "
            f"{' or '.join(RECORDED)}, or instructions without 'audio'"
        )
    if "corrected" in config.variants and not any(one.superseded for one in found):
        raise SuiteError(
            f"{path}: variants: corrected: no instruction has 'superseded'; expected the prompt "
            "that it corrects"
        )


def _rows(source: Path) -> Iterator[Instruction]:
    for number, row in read_rows(source):
        try:
            yield _instruction(row, number, source.parent)
        except SuiteError as error:
            raise SuiteError(f"{source}:{number}: {error}") from error


def _instruction(row: Any, number: int, folder: Path) -> Instruction:
    prompt = _prompt(row)
    earlier = row.get("superseded")
    audio = row.get("audio_path") or row.get("audio")
    if audio and not (folder / str(audio)).is_file():
        raise SuiteError(
            f"audio: {folder / str(audio)} is not there; expected a recording of the prompt, its "
            "path relative to this file"
        )
    return Instruction(
        id=str(row.get("key", row.get("id", number))),
        prompt=prompt,
        superseded=None if earlier is None else _prompt(earlier),
        audio=folder / str(audio) if audio else None,
    )


def _prompt(row: Any) -> Prompt:
    if not isinstance(row, dict) or not str(row.get("prompt") or "").strip():
        raise SuiteError("no 'prompt'; expected prompt, instruction_id_list and kwargs")
    names, arguments = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(names, list) or not names:
        raise SuiteError("no 'instruction_id_list'; expected a list of at least one name")
    arguments = [{}] * len(names) if arguments is None else arguments
    fits = isinstance(arguments, list) and all(isinstance(own, dict) for own in arguments)
    if not fits or len(arguments) != len(names):
        raise SuiteError(f"'kwargs': expected a list of {len(names)} objects, one for each name")
    demands = tuple(Demand.of(str(name), own) for name, own in zip(names, arguments))
    return Prompt(str(row["prompt"]).strip(), demands)


@dataclass(frozen=True)
class Verdict:
    """Whether each demand of a prompt was followed.

    ``superseded``: whether the answer follows the prompt that was corrected. ``echoed``: the answer
    only repeats the prompt, so nothing counts as followed.
    """

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]
    superseded: bool | None = None
    echoed: bool = False


def judge(
    said: str, prompt: Prompt, superseded: Prompt | None = None, asked: str | None = None
) -> Verdict:
    """Check an answer, strictly and loosely.

    Loosely as in IFEval: also without its first line, its last, or both, and without asterisks.
    Unlike IFEval, an answer that only repeats the prompt follows none of it: the transcript of
    "use the word park" has the word in it. A prompt that asks to be repeated is exempt.

    Args:
        asked: the prompt as it was worded, if not as in ``prompt``.
    """
    texts = (prompt.text, asked or prompt.text)
    repeating = any(demand.checker == "combination:repeat_prompt" for demand in prompt.demands)
    if not repeating and any(is_echo(said, text) for text in texts):
        none = (False,) * len(prompt.demands)
        return Verdict(none, none, None if superseded is None else False, echoed=True)
    lines = said.split("\n")
    cut = (lines, lines[1:], lines[:-1], lines[1:-1])
    forms = ["\n".join(some).strip() for some in cut]
    forms += [form.replace("*", "") for form in forms]
    return Verdict(
        tuple(demand.followed(said) for demand in prompt.demands),
        tuple(any(map(demand.followed, forms)) for demand in prompt.demands),
        None if superseded is None else all(d.followed(said) for d in superseded.demands),
    )


def is_echo(said: str, prompt: str) -> bool:
    """Whether a text is mostly the words of a prompt, in their order, and little else."""
    heard, asked = (words_in(text.lower()) for text in (said, prompt))
    return SequenceMatcher(None, heard, asked, autojunk=False).ratio() >= _ECHO


@dataclass(frozen=True)
class Share:
    """A share with its 95% interval, drawn over the prompts."""

    share: float
    count: int
    of: int
    low: float | None
    high: float | None


Figures = dict[str, Any]


def summarize(
    prompts: Sequence[Prompt], text: Sequence[Verdict], speech: Sequence[Verdict]
) -> Figures:
    """Figures of one variant: ``text``, ``speech``, and the ``gap`` between them.

    Each of the two has the shares of prompts all of whose instructions were followed, and of
    instructions, ``strict`` and ``loose``; the strict share of each kind of instruction; that of
    answers that only echo the prompt; and where prompts were corrected, that of answers that do
    what was taken back. ``mean`` is that of strict
    and loose, which SpeechInstructBench reports.
    """
    sizes = [len(prompt.demands) for prompt in prompts]
    out: Figures = {"text": _figures(prompts, text), "speech": _figures(prompts, speech)}
    out["gap"] = {
        "prompt": asdict(
            paired_bootstrap(
                base=[all(one.strict) for one in text],
                adapted=[all(one.strict) for one in speech],
                sizes=[1] * len(sizes),
            )
        ),
        "instruction": asdict(
            paired_bootstrap(
                base=[sum(one.strict) for one in text],
                adapted=[sum(one.strict) for one in speech],
                sizes=sizes,
            )
        ),
    }
    return out


def _figures(prompts: Sequence[Prompt], verdicts: Sequence[Verdict]) -> Figures:
    sizes = [len(prompt.demands) for prompt in prompts]
    checks: Mapping[str, list[tuple[bool, ...]]] = {
        "strict": [one.strict for one in verdicts],
        "loose": [one.loose for one in verdicts],
    }
    out: Figures = {"prompt": {}, "instruction": {}}
    for name, flags in checks.items():
        out["prompt"][name] = asdict(_share([int(all(own)) for own in flags], [1] * len(sizes)))
        out["instruction"][name] = asdict(_share([sum(own) for own in flags], sizes))
    for level in ("prompt", "instruction"):
        out[level]["mean"] = (out[level]["strict"]["share"] + out[level]["loose"]["share"]) / 2
    out["kinds"] = {}
    for kind in sorted({demand.kind for prompt in prompts for demand in prompt.demands}):
        own = [[demand.kind == kind for demand in prompt.demands] for prompt in prompts]
        done = [sum(f for f, k in zip(v.strict, mask) if k) for v, mask in zip(verdicts, own)]
        out["kinds"][kind] = asdict(_share(done, [sum(mask) for mask in own]))
    out["echoed"] = asdict(_share([int(one.echoed) for one in verdicts], [1] * len(sizes)))
    taken_back = [int(one.superseded) for one in verdicts if one.superseded is not None]
    if taken_back:
        out["superseded"] = asdict(_share(taken_back, [1] * len(taken_back)))
    return out


def _share(counts: list[int], sizes: list[int]) -> Share:
    low, high = rate_interval(errors=counts, sizes=sizes)
    return Share(sum(counts) / sum(sizes), sum(counts), sum(sizes), low, high)
