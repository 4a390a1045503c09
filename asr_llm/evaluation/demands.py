"""What a prompt demands of its answer: checkers with their arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from inspect import signature
from typing import Any

from pydantic import ValidationError, validate_call

from asr_llm.errors import SuiteError
from asr_llm.evaluation.checkers import CHECKERS, LANGUAGE, Kind
from asr_llm.yaml_lines import unfit


@dataclass(frozen=True)
class Demand:
    """One thing that a prompt asks for: the name of a checker, and its arguments."""

    checker: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """What kind of instruction it is."""
        return CHECKERS[self.checker].kind

    def followed(self, said: str) -> bool:
        """Whether a text does it. An empty one does nothing."""
        return bool(said.strip()) and CHECKERS[self.checker].check(said, **self.arguments)

    @classmethod
    def of(cls, name: str, arguments: Mapping[str, Any]) -> Demand:
        """A demand as a data set has it; arguments that are None are left out.

        Raises:
            SuiteError: no checker has that name, or its arguments are not those.
        """
        if name not in CHECKERS:
            raise SuiteError(f"unknown instruction {name!r}; expected one of {', '.join(CHECKERS)}")
        if name == LANGUAGE and find_spec("langdetect") is None:
            raise SuiteError(
                f"{name} needs the package langdetect; run pip install langdetect, or leave out "
                "the prompts that ask for a language"
            )
        given = {key: value for key, value in arguments.items() if value is not None}
        check = CHECKERS[name].check
        try:
            validate_call(check)("", **given)
        except ValidationError as error:
            raise SuiteError(f"{name}: {_wrong(error, check)}") from error
        return cls(name, given)


def _wrong(error: ValidationError, check: Callable[..., bool]) -> str:
    """What is wrong with the first wrong argument of a checker."""
    item = error.errors(include_url=False)[0]
    key = ".".join(map(str, item["loc"]))
    expected = ", ".join(list(signature(check).parameters)[1:]) or "none"
    if item["type"] == "missing_argument":
        return f"lacks the argument {key}; expected {expected}"
    if item["type"] in ("unexpected_keyword_argument", "multiple_argument_values"):
        return f"unknown argument {key}; expected {expected}"
    return f"{key}: {unfit(item)}"
