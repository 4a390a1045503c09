"""A projector initialised as noisy text: CTC posteriors times the LLM's own embeddings.

A random projector gives the LLM vectors that it has never seen, and it takes long to find the
speech in them; with one fitted by regression, near-synonyms are close ("sight", "scene") before
similar sounds are. Here each frame consists of the posteriors of a CTC head plus learned features,
and the linear layer after it (SALM's ``perception.proj``) starts with the LLM's embedding of each
token of the head's vocabulary: from the first step, the LLM reads the head's output including its
uncertainty, as in LegoSLM (arXiv 2505.11352).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asr_llm.errors import RecipeError

if TYPE_CHECKING:
    from asr_llm.model.salm import SpanSALM

_SCALE = 0.02  # initial scale of the weights of the other features


class PosteriorProjector(nn.Module):
    """(B, ``width``, F) to (B, ``d_model``, F): posteriors, then other features.

    Args:
        width: of the encoder's frames.
        d_model: of its output; what the posteriors leave are the other features.
        symbols: of the CTC head, including the blank (last).
    """

    def __init__(self, width: int, d_model: int, symbols: int) -> None:
        super().__init__()
        if not 0 < symbols < d_model:
            raise ValueError(f"found {symbols} symbols; expected 1 to {d_model - 1} (d_model - 1)")
        self.ctc = nn.Linear(width, symbols)
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, d_model - symbols)
        self.d_model = d_model

    def forward(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, width, F) and their counts (B,); counts stay."""
        frames = audio_signal.transpose(1, 2)
        posteriors = self.ctc(frames).float().softmax(-1).to(frames.dtype)
        others = F.gelu(self.linear(self.norm(frames)))
        return torch.cat([posteriors, others], -1).transpose(1, 2), length


@torch.no_grad()
def begin_as_text(model: SpanSALM) -> None:
    """Initialise the projector so that the LLM reads the CTC head's output.

    A symbol maps to the mean embedding of the LLM's tokens for it, the blank to that of the audio
    locator tag, which stands for no word. (Zero would not work: the LLM's first normalisation
    amplifies small vectors.)

    Raises:
        RecipeError: the model has no CTC head, or one with another vocabulary.
    """
    adapter, head = model.perception.modality_adapter, model.ctc_head
    if head is None:
        raise RecipeError("fit_projector needs a CTC head; train one first (objective: ctc)")
    symbols = model.ctc_blank_id + 1
    if adapter.ctc.out_features != symbols:
        raise RecipeError(
            f"the projector expects {adapter.ctc.out_features} symbols, but the CTC head has "
            f"{symbols}; set 'symbols' under perception.modality_adapter to that"
        )
    adapter.ctc.load_state_dict(head.state_dict())
    proj = model.perception.proj
    proj.weight[:, :symbols] = _embeddings(model).T.to(proj.weight)
    nn.init.normal_(proj.weight[:, symbols:], std=_SCALE)
    nn.init.zeros_(proj.bias)


def _embeddings(model: SpanSALM) -> Tensor:
    """(symbols, H): the LLM embedding of each symbol of the CTC head."""
    tokenizer, table = model.tokenizer.tokenizer, model.embeddings
    nothing = table[model.audio_locator_tag_id]
    rows = []
    for symbol in range(model.ctc_vocabulary.size):
        ids = tokenizer(model.ctc_vocabulary.piece(symbol), add_special_tokens=False)["input_ids"]
        rows.append(table[ids].mean(0) if ids else nothing)
    return torch.stack([*rows, nothing])
