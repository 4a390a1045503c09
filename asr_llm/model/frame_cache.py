"""Cache of encoder frames for training recordings, on disk.

Encoding runs at 60 to 75 times real time on two cores, and training sees each recording many times.
If the encoder or its first layers are frozen, their output for recordings is kept in the user's
cache (kind ``frames``), by content: the key is a hash of the samples, the folder one of the frozen
weights. Newly synthesised or augmented speech is never cached.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asr_llm.corpus.speech import cache

KIND = "frames"
LIMIT_BYTES = 8 * 2**30  # about 40 hours


class FrameCache:
    """16-bit float arrays by key; the oldest are deleted beyond a size limit."""

    def __init__(self, folder: Path, limit: int = LIMIT_BYTES) -> None:
        self.folder, self.limit = folder, limit
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sizes = {
            path.name: path.stat().st_size
            for path in sorted(folder.glob("*.npy"), key=lambda path: path.stat().st_mtime)
        }
        self._total = sum(self._sizes.values())

    def get(self, key: str) -> Tensor | None:
        """The array of a key, in float32; None if missing or unreadable."""
        try:
            return torch.from_numpy(np.load(self.folder / f"{key}.npy").astype(np.float32))
        except (OSError, ValueError, EOFError):
            return None

    def put(self, key: str, frames: Tensor) -> None:
        """Store an array (F, D); a full disk is not an error."""
        path = self.folder / f"{key}.npy"
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                np.save(file, frames.detach().cpu().to(torch.float16).numpy())
            os.replace(part, path)
        except OSError:
            part.unlink(missing_ok=True)
            return
        self._total += path.stat().st_size - self._sizes.pop(path.name, 0)
        self._sizes[path.name] = path.stat().st_size
        while self._total > self.limit and len(self._sizes) > 1:
            oldest = next(iter(self._sizes))
            self._total -= self._sizes.pop(oldest)
            (self.folder / oldest).unlink(missing_ok=True)


class CachedEncoder:
    """An encoder with frozen first layers, which run once per recording.

    Args:
        perception: SALM's, with a frozen encoder.
        trained_layers: number of the encoder's last layers that are trained and so run every time;
            only ``model.whisper`` can be split.
        limit: bytes on disk.
    """

    def __init__(self, perception: Any, trained_layers: int = 0, limit: int = LIMIT_BYTES) -> None:
        self.perception = perception
        self.depth = len(perception.encoder.layers) - trained_layers if trained_layers else None
        self.cache = FrameCache(cache.folder(KIND) / self._identity(), limit)

    def __call__(
        self, audios: Tensor, audio_lens: Tensor, keys: list[str | None]
    ) -> tuple[Tensor, Tensor]:
        """Audio (B, T) and lengths (B,) to the encoder's output (B, F, D) and lengths (B,)."""
        rows = [self.cache.get(key) if key else None for key in keys]
        new = [i for i, row in enumerate(rows) if row is None]
        if new:
            for i, states in zip(new, self._frozen(audios[new], audio_lens[new])):
                rows[i] = states
                if key := keys[i]:
                    self.cache.put(key, states)
        states = torch.nn.utils.rnn.pad_sequence(
            [row.to(audios.device) for row in rows if row is not None], batch_first=True
        )
        lens = torch.tensor([len(row) for row in rows if row is not None], device=audios.device)
        if self.depth is None:
            return states, lens
        encoded, lens = self.perception.encoder.finish(states, lens, first=self.depth)
        return encoded.transpose(1, 2), lens

    @torch.no_grad()
    def _frozen(self, audios: Tensor, lens: Tensor) -> list[Tensor]:
        features, lens = self.perception.preprocessor(
            input_signal=audios[:, : int(lens.max())], length=lens
        )
        encoder = self.perception.encoder
        if self.depth is None:
            out, lens = encoder(audio_signal=features, length=lens)
            out = out.transpose(1, 2)
        else:
            out, lens = encoder.states(features, lens, last=self.depth)
        return [row[:count].float() for row, count in zip(out, lens.tolist())]

    def _identity(self) -> str:
        """Hash of the frozen part."""
        digest = hashlib.sha1(str(self.depth).encode())
        encoder = self.perception.encoder
        trained: set[int] = set()
        if self.depth is not None:  # the last layers, and the normalisation behind them
            late = [*encoder.layers[self.depth :], encoder.whisper.layer_norm]
            trained = {id(parameter) for module in late for parameter in module.parameters()}
        for parameter in encoder.parameters():
            if id(parameter) not in trained:
                digest.update(parameter.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]
