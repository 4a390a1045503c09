"""Where the cache is, who may read it, and that clearing it deletes nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_llm.corpus.speech import cache
from asr_llm.corpus.speech.cache import Entry
from asr_llm.errors import AsrLlmError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASR_LLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(kind: str, name: str, size: int) -> Path:
    path = cache.folder(kind) / name
    path.write_bytes(bytes(size))
    return path


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.location() == tmp_path / "cache"
    monkeypatch.setenv("ASR_LLM_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder("spoken") == tmp_path / "xdg" / "asr_llm" / "spoken"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.folder() == tmp_path / "home" / ".cache" / "asr_llm"


def test_only_the_user_may_read_it() -> None:
    for path in (cache.folder("spoken"), cache.folder()):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_there_keeps_its_mode(own_cache: Path) -> None:
    own_cache.mkdir(mode=0o755)
    own_cache.chmod(0o755)
    cache.folder("spoken")
    assert own_cache.stat().st_mode & 0o777 == 0o755


def test_asking_makes_nothing(own_cache: Path) -> None:
    assert cache.entries() == []
    assert cache.clear() == []
    assert not own_cache.exists()


def test_entries_are_counted() -> None:
    put("spoken", "a", 10)
    put("spoken", "b", 5)
    put("voices", "v.onnx", 7)
    assert cache.entries() == [Entry("spoken", 2, 15), Entry("voices", 1, 7)]


def test_clear_keeps_voices_and_foreign_files(own_cache: Path) -> None:
    spoken, voice = put("spoken", "a", 10), put("voices", "v.onnx", 7)
    stranger = own_cache / "thesis" / "chapter.txt"  # ASR_LLM_CACHE may be a home folder
    stranger.parent.mkdir()
    stranger.write_text("years of work")
    assert cache.clear() == [Entry("spoken", 1, 10)]
    assert not spoken.exists() and voice.exists() and stranger.exists()
    with pytest.raises(AsrLlmError, match=r"nothing of kind 'thesis' is cached; there is: voices"):
        cache.clear("thesis")
    assert cache.clear("voices") == [Entry("voices", 1, 7)]
    assert not voice.exists() and stranger.exists()


def test_a_link_is_not_followed(own_cache: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    put("spoken", "a", 1).parent.rename(elsewhere)
    (own_cache / "spoken").symlink_to(elsewhere)
    assert cache.clear() == []
    assert (elsewhere / "a").exists()


def test_a_file_in_the_way(own_cache: Path) -> None:
    own_cache.write_text("")
    with pytest.raises(AsrLlmError, match=r"cannot make this cache folder .*; set ASR_LLM_CACHE"):
        cache.folder("spoken")
