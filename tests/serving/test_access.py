"""Keys and origins as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_llm.errors import ServerError

pytest.importorskip("starlette", reason="needs the extra 'serve'")

from asr_llm.serving.access import parse_origin, read_keys


def test_keys_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"\xef\xbb\xbf# of the clinic\r\n k1+/=  \r\n\r\n#2\rk3\nk3\n")
    assert read_keys(file) == ("k1+/=", "#2", "k3")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no key in it"),
        (b"# none\n \n", "no key in it"),
        (b"good\nsecret word\n", "key 2 has spaces"),
        ("sécret".encode(), "not ASCII"),
        (b"\xff\xfe\x00", "no text"),
        (b"secret\0", "key 1 has"),
        (b"k" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_files_without_usable_keys(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(ServerError, match=message) as refused:
        read_keys(file)
    assert str(file) in str(refused.value)
    assert "cret" not in str(refused.value)
    with pytest.raises(ServerError, match="cannot be read"):
        read_keys(tmp_path)


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("*", "*"),
        ("https://example.org", "https://example.org"),
        ("HTTPS://Example.org/", "https://example.org"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://a.org:443", "https://a.org"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_origins(given: str, origin: str) -> None:
    assert parse_origin(given) == origin


@pytest.mark.parametrize(
    "given",
    ["", "example.org", "localhost:3000", "https://", "https://a.org/page", "ftp://a.org",
     "https://a.org:port", "https://me@a.org", "https://a.org?x", "null"],
)  # fmt: skip
def test_invalid_origins_are_rejected(given: str) -> None:
    with pytest.raises(ServerError, match=r"--cors-origin is .*; expected"):
        parse_origin(given)
