"""The errors a user can cause.

Each message says what was found, what was expected, where, and what to do
next, in one or two lines. The command line prints the message and exits with
status 2; a traceback appears only with ``--debug``.
"""


class AsrLlmError(Exception):
    """Base of every error that is the user's to mend."""


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
    """A run folder is in the way, incomplete, or cannot be written."""


class SuiteError(AsrLlmError):
    """A suite of questions is missing or malformed."""


class ScoreError(AsrLlmError):
    """References, hypotheses or entities cannot be scored together."""


class BiasingError(AsrLlmError):
    """A biasing list is missing, empty or malformed, or its strength is no strength."""


class ServerError(AsrLlmError):
    """The server cannot start: a package or an address that it needs is not to be had."""
