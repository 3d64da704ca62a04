"""What decides the vectors of an embedder adapter beside its weights, as sentence-transformers saves it in the same folder.

Instructions are kept with the adapter. Pooling, length, tokenizer and similarity are the embedder's own, so an adapter made with
others is refused. Foreign files are read as JSON alone: no class that they name is imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lorag.pipeline.adapters.files import load_json
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.retrieval.sentence_encoder import (
    PROMPTS_FILE,
    SentenceTransformerEmbedder,
    pooling_mode,
    resolve_model,
)
from lorag.pipeline.storage.atomic import write_new

EQUAL = 0.9999
"""Least cosine between LoRAG's vectors and those of plain sentence-transformers."""

_BYTES = 1 << 20
_TOKENIZER_BYTES = 64 << 20
_KINDS = ("Transformer", "Pooling", "Normalize")
_PROBE = "Ein Wort, TWO Words and a naïve 3rd:  end."


@dataclass(frozen=True, slots=True)
class Maker:
    """How the maker's model computed vectors. `pooling`, `length` and instructions are None if the folder does not say."""

    pooling: str | None = None
    include_prompt: bool = True
    length: int | None = None
    query: str | None = None
    document: str | None = None


def read_maker(folder: Path) -> Maker:
    """Read what lies beside the weights in `folder`. Raises AdapterError if it is damaged, or nothing LoRAG can serve."""
    config = _object(folder / PROMPTS_FILE)
    kinds, pooling = _modules(folder)
    _check_similarity(folder / PROMPTS_FILE, config, normalized="Normalize" in kinds)
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise AdapterError(f"{folder / PROMPTS_FILE}: prompts must be texts by name; copy the adapter again")
    default = config.get("default_prompt_name")
    query = _prompt(prompts, default, "query")
    document = _prompt(prompts, default, "document", "passage", "corpus")
    if prompts.get(str(default)) and not query and not document:
        raise AdapterError(
            f"{folder / PROMPTS_FILE}: has the default instruction {str(default)[:60]!r} beside empty ones for query and "
            "document; write there, under query and document, which instruction each side was trained with"
        )
    return Maker(
        pooling=pooling_mode(pooling) if pooling is not None else None,
        include_prompt=(pooling or {}).get("include_prompt", True) is not False,
        length=_length(folder),
        # A whole model says that there is none; an adapter alone leaves it to its embedder.
        query=query if kinds or query else None,
        document=document if kinds or document else None,
    )


def _modules(folder: Path) -> tuple[list[str], dict[str, Any] | None]:
    """The kinds of the model's modules, and the settings of its pooling; [] and None without modules.json."""
    path = folder / "modules.json"
    if not path.exists():
        return [], None
    modules = load_json(path, limit=_BYTES)
    kinds: list[str] = []
    pooling: dict[str, Any] = {}
    for module in modules if isinstance(modules, list) else [None]:
        settings = module if isinstance(module, dict) else {}
        kind = str(settings.get("type"))
        if not kind.startswith("sentence_transformers.") or kind.rpartition(".")[2] not in _KINDS:
            raise AdapterError(f"{path}: has the module {kind[:100]}; only {', '.join(_KINDS)} are served, train without it")
        kinds.append(kind.rpartition(".")[2])
        if kinds[-1] == "Pooling":
            name = str(settings.get("path", ""))
            if not name or name.startswith(".") or "/" in name or "\\" in name:
                raise AdapterError(f"{path}: names no folder beside it for the pooling; copy the adapter again")
            pooling = _object(folder / name / "config.json")
            mode = pooling.get("pooling_mode", "")
            if not all(isinstance(each, str) for each in (mode if isinstance(mode, list) else [mode])):
                raise AdapterError(f"{folder / name / 'config.json'}: pooling_mode must be a name; copy the adapter again")
    return kinds, pooling


def _check_similarity(path: Path, config: Mapping[str, Any], *, normalized: bool) -> None:
    similarity = config.get("similarity_fn_name") or "cosine"
    if similarity != "cosine" and not (similarity == "dot" and normalized):
        raise AdapterError(f"{path}: compares vectors by {str(similarity)[:40]}, LoRAG by cosine; train with cosine")
    if config.get("truncate_dim") is not None:
        raise AdapterError(f"{path}: cuts vectors to {str(config['truncate_dim'])[:40]} values, LoRAG keeps all; train without")


def _length(folder: Path) -> int | None:
    """Tokens that the maker's model reads, from either of the files that may say it."""
    if not (folder / "modules.json").exists():
        return None  # a tokenizer alone says what it could read
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        value = _object(folder / name).get(key)
        if isinstance(value, int | float) and 0 < value < 1 << 30:
            return int(value)
    return None


def _prompt(prompts: Mapping[str, str], default: Any, *names: str) -> str:
    """The instruction by the rule of sentence-transformers: the side's own, else the default one, else none."""
    own = next((prompts[name] for name in names if name in prompts), None)
    return own if own is not None else prompts.get(str(default), "")


def keep_prompts(maker: Maker, staged: Path, bare: SentenceTransformerEmbedder) -> None:
    """Write into `staged` the instructions that differ from those of the `bare` embedder."""
    model = bare.load()
    own, default = model.prompts or {}, model.default_prompt_name
    sides = {
        "query": (maker.query, _prompt(own, default, "query")),
        "document": (maker.document, _prompt(own, default, "document", "passage", "corpus")),
    }
    kept = {side: made for side, (made, here) in sides.items() if made is not None and made != here}
    if kept:
        write_new(staged / PROMPTS_FILE, json.dumps({"prompts": kept}, indent=2) + "\n")


def check_maker(folder: Path, maker: Maker, bare: SentenceTransformerEmbedder, name: str, texts: Sequence[str]) -> None:
    """Raises AdapterError if the maker's model pooled, cut or tokenized other than the `bare` embedder `name`."""
    model = bare.load()
    if maker.pooling is not None and maker.pooling != bare.identity.pooling:
        raise AdapterError(
            f"{folder}: was made with {maker.pooling[:60]} pooling, {name} pools by {bare.identity.pooling}; "
            "use an embedder with the adapter's pooling, or train it with the embedder's"
        )
    if maker.pooling is not None and maker.include_prompt != all(getattr(m, "include_prompt", True) for m in model):
        raise AdapterError(
            f"{folder}: was made with include_prompt {maker.include_prompt}, {name} has the other; set it so there"
        )
    longest = getattr(model.transformers_model.config, "max_position_embeddings", None) or 1 << 30
    if maker.length is not None and min(maker.length, longest) != min(model.max_seq_length or longest, longest):
        raise AdapterError(
            f"{folder}: was made to read {maker.length} tokens, {name} reads {model.max_seq_length}; use a copy of the embedder "
            f"with max_seq_length {maker.length} in sentence_bert_config.json, or train it with the embedder's length"
        )
    _check_tokens(folder, model.tokenizer, name, [*texts, _PROBE])


def _check_tokens(folder: Path, tokenizer: Any, name: str, texts: Sequence[str]) -> None:
    path = folder / "tokenizer.json"
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not path.exists() or backend is None:
        return
    from tokenizers import Tokenizer

    content = load_json(path, limit=_TOKENIZER_BYTES)
    try:
        theirs, ours = Tokenizer.from_str(json.dumps(content)), Tokenizer.from_str(backend.to_str())
    except Exception as error:  # the library raises plain Exception for a file that it cannot read
        raise AdapterError(f"{path}: no readable tokenizer ({str(error)[:100]}); copy the adapter again") from error
    for each in (theirs, ours):
        each.no_truncation()
        each.no_padding()
    if any(theirs.encode(text).ids != ours.encode(text).ids for text in texts):
        raise AdapterError(f"{path}: cuts texts into other tokens than {name}; use the embedder that the adapter was made for")


def check_vectors(folder: Path, staged: Path, maker: Maker, tuned: SentenceTransformerEmbedder, texts: Sequence[str]) -> None:
    """Compare `tuned` with plain sentence-transformers set up as the maker's. Raises AdapterError if a vector differs."""
    plain = _plain_model(tuned, staged, maker)
    for side, encode, ours in (
        ("queries", plain.encode_query, tuned.embed_queries),
        ("passages", plain.encode_document, tuned.embed_passages),
    ):
        theirs = np.asarray(encode(list(texts), normalize_embeddings=True, show_progress_bar=False), dtype=np.float32)
        least = float(np.min(np.sum(theirs * np.asarray(ours(texts)), axis=1)))
        if not least >= EQUAL:
            raise AdapterError(
                f"{folder}: vectors of {side} differ from those of sentence-transformers (cosine {least:.4f}); "
                "something that decides them was lost, train the adapter with LoRAG or on this embedder"
            )


def _plain_model(tuned: SentenceTransformerEmbedder, staged: Path, maker: Maker) -> Any:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    from lorag.pipeline.engine.quiet import quiet_libraries

    served = tuned.load()
    with quiet_libraries():
        plain = SentenceTransformer(str(resolve_model(tuned.identity.model)), device=str(served.device))
        plain.load_adapter(str(staged.resolve()))
    if maker.length is not None:
        plain.max_seq_length = min(maker.length, served.max_seq_length or maker.length)
    if maker.pooling is not None:
        for position, module in enumerate(plain):
            if isinstance(module, Pooling):
                wide = module.embedding_dimension
                plain[position] = Pooling(wide, tuple(maker.pooling.split("+")), include_prompt=maker.include_prompt)
    own = {"query": maker.query, "document": maker.document}
    plain.prompts = {**(plain.prompts or {}), **{side: text for side, text in own.items() if text is not None}}
    return plain.eval()


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`, {} if there is no such file."""
    if not path.is_symlink() and not path.exists():
        return {}
    content = load_json(path, limit=_BYTES)
    if not isinstance(content, dict):
        raise AdapterError(f"{path}: must be a JSON object; copy the adapter again")
    return content
