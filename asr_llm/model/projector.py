"""Initialises the projector by least squares from the CTC head, without gradient steps.

A trained CTC head says which token a frame stands for. The projector is a linear map from encoder
frames to the LLM's embedding space, so it can be fitted in closed form to map each frame to the
expected embedding of its tokens, and blanks to that of the audio locator tag, which stands for no
word. (Zero would not work: the LLM's first normalisation amplifies small vectors.) The LLM then
starts with something like noisy text, which it can already copy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from asr_llm.errors import RecipeError

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM
    from asr_llm.sequences.batch import Batch


@torch.no_grad()
def fit_projector(model: SpanSALM, batches: Iterable[Batch], ridge: float = 1e-3) -> float:
    """Solve for ``perception.proj`` so that frames map to the embeddings of their tokens.

    With X (N, D + 1) the encoder's frames and a constant, P (N, V + 1) the CTC posteriors and E (V
    + 1, H) the embeddings with the locator's for blank, this is ridge regression of P E on X.
    Non-blank frames are weighted to count as much as all blanks together.

    Args:
        batches: training batches; those without speech are skipped.
        ridge: regularisation, relative to the mean of the diagonal of X'X.

    Returns:
        R², the explained share of the variance of the targets.

    Raises:
        RecipeError: the model has no CTC head, or no batch has speech.
    """
    if model.ctc_head is None:
        raise RecipeError("fit_projector needs a CTC head; train one first (objective: ctc)")
    embeddings = model.embeddings.double()
    nothing = embeddings[model.audio_locator_tag_id]
    width = model.perception.proj.in_features
    gram = torch.zeros(width + 1, width + 1, dtype=torch.double)
    cross = torch.zeros(width + 1, embeddings.shape[1], dtype=torch.double)
    power, seen = 0.0, 0
    for batch in batches:
        if batch.speech is None:
            continue
        _, lens, encoded = model.encode(batch.speech.audios, batch.speech.audio_lens)
        inside = torch.arange(encoded.shape[1])[None] < lens.cpu()[:, None]
        frames = encoded[inside]
        posterior = model.ctc_head(frames).float().softmax(-1).double()
        targets = posterior[:, :-1] @ embeddings + posterior[:, -1:] * nothing
        spoken = 1 - posterior[:, -1]
        weight = (spoken / spoken.sum() + (1 - spoken) / (1 - spoken).sum())[:, None]
        weight = weight * len(frames) / 2
        x = torch.cat([frames.double(), torch.ones(len(frames), 1, dtype=torch.double)], 1)
        gram += x.T @ (weight * x)
        cross += x.T @ (weight * targets)
        power += float((weight * targets**2).sum())
        seen += len(frames)
    if not seen:
        raise RecipeError("fit_projector found no speech in the sources; add an 'asr' source")
    penalty = ridge * gram.diagonal().mean() * torch.eye(width + 1, dtype=torch.double)
    solution = torch.linalg.solve(gram + penalty, cross)  # (D + 1, H)
    model.perception.proj.weight.copy_(solution[:-1].T)
    model.perception.proj.bias.copy_(solution[-1])
    residual = (
        power - 2 * float((solution * cross).sum()) + float((solution * (gram @ solution)).sum())
    )
    return 1 - residual / power
