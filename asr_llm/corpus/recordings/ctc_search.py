"""The best path of tokens through CTC emissions: NeMo's batched Viterbi, or k2 if installed.

Legend: T frames, V tokens including the blank.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from asr_llm.errors import AsrLlmError

if TYPE_CHECKING:
    from torch import Tensor

Backend = Literal["auto", "viterbi", "k2"]

Search = Callable[["list[Tensor]", list[list[int]], int], list[list[int | None]]]
"""Maps emissions, each (T, V), their target tokens and the blank to the position in the target of
each frame's token, or None at a blank."""


def search_of(name: Backend) -> Search:
    """Return the search of that name.

    Raises:
        AsrLlmError: k2 is requested but not installed.
    """
    if name == "viterbi":
        return _viterbi
    if importlib.util.find_spec("k2") is not None:
        return _k2
    if name == "k2":
        raise AsrLlmError(
            "k2 is not installed; leave --backend out to align with NeMo's Viterbi, or install a "
            "k2 wheel for your torch (https://k2-fsa.github.io/k2)"
        )
    return _viterbi


def _viterbi(
    log_probs: list[Tensor], targets: list[list[int]], blank: int
) -> list[list[int | None]]:
    """NeMo's Viterbi: for each frame the position of its token in the target; None at blanks."""
    import torch
    from nemo.collections.asr.parts.utils.aligner_utils import viterbi_decoding
    from torch.nn.utils.rnn import pad_sequence

    padding = -3.4e38
    vocabulary = log_probs[0].shape[1]
    emissions = pad_sequence(
        [e.float() for e in log_probs], batch_first=True, padding_value=padding
    )
    with_blanks = [[blank, *(x for token in target for x in (token, blank))] for target in targets]
    states = pad_sequence(
        [torch.tensor(row) for row in with_blanks], batch_first=True, padding_value=vocabulary
    )
    device = emissions.device
    paths = viterbi_decoding(
        emissions,
        states.to(device),
        torch.tensor([len(e) for e in log_probs], device=device),
        torch.tensor([len(row) for row in with_blanks], device=device),
        viterbi_device=device,
        padding_value=padding,
    )
    return [[state // 2 if state % 2 else None for state in path] for path in paths]


def _k2(log_probs: list[Tensor], targets: list[list[int]], blank: int) -> list[list[int | None]]:
    """k2: the best path through each CTC graph; k2's blank is 0, so token ids shift by one."""
    import k2
    import torch
    from torch.nn.utils.rnn import pad_sequence

    # k2 wants the longest first.
    order = sorted(range(len(log_probs)), key=lambda i: -len(log_probs[i]))
    emissions = pad_sequence(
        [
            torch.cat([e[:, blank : blank + 1], e[:, :blank], e[:, blank + 1 :]], dim=1).float()
            for e in (log_probs[i] for i in order)
        ],
        batch_first=True,
    )
    moved = [[token + (token < blank) for token in targets[i]] for i in order]
    graphs = k2.ctc_graph(moved, modified=False, device=emissions.device)
    segments = torch.tensor([[n, 0, len(log_probs[i])] for n, i in enumerate(order)])
    dense = k2.DenseFsaVec(emissions, segments.to(torch.int32))
    lattice = k2.intersect_dense(graphs, dense, output_beam=1e10)
    best = k2.shortest_path(lattice, use_double_scores=True)
    paths: list[list[int | None]] = [[] for _ in order]
    for n, i in enumerate(order):
        # A label for every frame, then -1; repeats are one token.
        labels = best[n].labels.tolist()[:-1]
        place = -1
        for label, run in groupby(labels):
            place += label != 0
            paths[i] += [place if label else None for _ in run]
    return paths
