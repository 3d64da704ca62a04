"""SHA-256 against the values of FIPS 180-2, appendix B."""

from __future__ import annotations

from pathlib import Path

from lorag.pipeline.storage.digests import file_digest, text_digest

OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_of_a_text_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert text_digest("abc") == file_digest(tmp_path / "abc") == OF_ABC
