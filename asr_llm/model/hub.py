"""Names of models on the hub, and explanations of download failures."""

from __future__ import annotations

from pathlib import Path


def is_hub_name(name: str | Path) -> bool:
    """Whether it has the form OWNER/NAME."""
    return str(name).count("/") == 1 and not str(name).startswith((".", "/", "~"))


def hub_reason(error: Exception) -> str:
    """Why the hub did not provide a model, and what to do, as part of a line."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    for kind, reason in (
        (GatedRepoError, "the hub asks who you are; accept its licence there and 'hf auth login'"),
        (RepositoryNotFoundError, "the hub has no model of that name, or it is private"),
        (HFValidationError, "a name on the hub has another form: OWNER/NAME"),
        (LocalEntryNotFoundError, "the hub cannot be reached; check the network, or copy the "
         "model here and give its folder"),
    ):  # fmt: skip
        if isinstance(error, kind):
            return reason
    return f"the hub did not give it ({type(error).__name__}: {error})"
