"""Vocabulary of a CTC head: the LLM's tokens, or a small one of its own.

An output layer over an LLM's 49,152 tokens would be larger than Whisper's encoder. A checkpoint
folder with ``ctc_tokenizer.json`` (Hugging Face's ``tokenizers`` format: characters or some hundred
lower-case word pieces) has a head with that vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asr_llm.errors import CheckpointError

CTC_TOKENIZER = "ctc_tokenizer.json"


class CtcVocabulary:
    """Converts normalised text to token ids and back; the blank is one past the last id.

    Args:
        tokenizer: the LLM's Hugging Face tokenizer, if the head shares its vocabulary.
        size: the LLM's vocabulary size.
        path: a ``ctc_tokenizer.json`` instead of the two.

    Raises:
        CheckpointError: the file is not there, or not a tokenizer.
    """

    def __init__(self, tokenizer: Any, size: int, path: str | Path | None = None) -> None:
        self._llm, self._own, self.size = tokenizer, None, size
        self.path = Path(path) if path is not None else None
        if self.path is None:
            return
        from tokenizers import Tokenizer

        try:
            self._own = Tokenizer.from_file(str(self.path))
        except Exception as error:  # the Rust side raises plain Exception
            found = "is not a tokenizer" if self.path.is_file() else "is not there"
            raise CheckpointError(
                f"{self.path} {found}; expected the JSON that the 'tokenizers' library saves"
            ) from error
        self.size = self._own.get_vocab_size()

    @property
    def blank(self) -> int:
        """Id of the CTC blank."""
        return self.size

    def encode(self, text: str) -> list[int]:
        """The ids of normalised words, each as if after a space."""
        if self._own is not None:
            return list(self._own.encode(text, add_special_tokens=False).ids)
        return list(self._llm(f" {text}", add_special_tokens=False)["input_ids"])

    def decode(self, ids: list[int]) -> str:
        """The text of ids without blanks and repeats."""
        if self._own is not None:
            return str(self._own.decode(ids)).strip()
        return str(self._llm.decode(ids, skip_special_tokens=True)).strip()

    def piece(self, symbol: int) -> str:
        """A symbol as in text: with a leading space if it starts a word."""
        if self._own is not None:
            return str(self._own.id_to_token(symbol)).replace("▁", " ")
        return str(self._llm.decode([symbol]))
