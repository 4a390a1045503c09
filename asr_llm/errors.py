"""Errors that users can cause.

Each message says what was found, what was expected, where, and what to do next, in one or two
lines. The command line prints the message and exits with status 2; a traceback appears only with
``--debug``.
"""


def number_of(count: int, noun: str) -> str:
    """Count things in a message: "1 file", "2 files"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


class AsrLlmError(Exception):
    """Base class of all errors that the user can fix."""


class Interrupted(KeyboardInterrupt):
    """The user stopped a run; ``kept`` says what ``--resume`` continues from, None if nothing."""

    def __init__(self, kept: str | None) -> None:
        super().__init__(kept)
        self.kept = kept


class RecipeError(AsrLlmError):
    """A recipe file is malformed: unknown key, wrong type, impossible value."""


class DomainError(AsrLlmError):
    """A domain folder, or a file in it, is missing or malformed."""


class AudioError(AsrLlmError):
    """An audio file is missing, empty, corrupt or not audio."""


class SynthesisError(AsrLlmError):
    """A voice or a synthesiser is missing, or could not speak a text."""


class CheckpointError(AsrLlmError):
    """A checkpoint or adapter does not load, or does not fit its base."""


class RunError(AsrLlmError):
    """A run folder is already in use, incomplete, or cannot be written."""


class SuiteError(AsrLlmError):
    """A suite of questions is missing or malformed."""


class ScoreError(AsrLlmError):
    """References, hypotheses or entities cannot be scored together."""


class BiasingError(AsrLlmError):
    """A biasing list is missing, empty or malformed, or its strength is invalid."""


class ServerError(AsrLlmError):
    """The server cannot start: a package is missing or the address is unavailable."""
