"""A CTC head's own vocabulary, or the LLM's."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from asr_llm.errors import CheckpointError
from asr_llm.model.ctc_vocabulary import CTC_TOKENIZER, CtcVocabulary


class Llm(SimpleNamespace):
    """A tokenizer of letters: a = 1; a space is 0."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [0 if c == " " else ord(c) - 96 for c in text]}

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(" " if i == 0 else chr(96 + i) for i in ids)


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    vocabulary = {"<unk>": 0, "▁": 1, "a": 2, "b": 3, "▁a": 4, "ab": 5}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("▁", "a"), ("a", "b")], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.save(str(tmp_path / CTC_TOKENIZER))
    return tmp_path / CTC_TOKENIZER


def test_the_llm_vocabulary_with_a_blank_behind_it() -> None:
    vocabulary = CtcVocabulary(Llm(), 27)
    assert vocabulary.encode("ab c") == [0, 1, 2, 0, 3]
    assert vocabulary.decode([0, 1, 2, 0, 3]) == "ab c"
    assert (vocabulary.size, vocabulary.blank, vocabulary.path) == (27, 27, None)


def test_a_vocabulary_of_its_own(pieces: Path) -> None:
    vocabulary = CtcVocabulary(Llm(), 27, pieces)
    assert vocabulary.encode("ab ba") == [4, 3, 1, 3, 2]
    assert vocabulary.decode([4, 3, 1, 3, 2]) == "ab ba"
    assert (vocabulary.size, vocabulary.blank) == (6, 6)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / CTC_TOKENIZER
    expected = "expected the JSON that the 'tokenizers' library saves"
    with pytest.raises(CheckpointError, match=f"json is not there; {expected}"):
        CtcVocabulary(Llm(), 27, path)
    path.write_text("[]", "utf-8")
    with pytest.raises(CheckpointError, match=f"json is not a tokenizer; {expected}"):
        CtcVocabulary(Llm(), 27, path)
