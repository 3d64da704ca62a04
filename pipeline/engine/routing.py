"""Puts adapters on a base and routes rows to them. The only place that changes which adapter is active.

peft's own `set_adapter` walks every module and toggles `requires_grad` (22 ms on a 135M model). Its per-row routing registers a
hook on every layer at each call (12 ms a decoded token). A batch with one adapter needs neither: two attributes on each LoRA
layer, held in a list, are enough. Mixed batches use peft's per-row routing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lorag.pipeline.engine.batch import BASE_ROW
from lorag.pipeline.engine.fused import fuse
from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.engine.weights import packed_weights_kept, unpack_weights
from lorag.pipeline.errors import AdapterError, NoEffect

_LENGTHS = ".lora_magnitude_vector.weight"
"""The name of DoRA's row lengths in a model; a file leaves the last part out, mostly."""


class AdapterRouter:
    """A base model with named adapters on it. Not thread-safe: the engine's lock guards it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._layers: list[Any] = []
        self.names: tuple[str, ...] = ()

    def add(self, name: str, folder: Path, dtype: Any) -> None:
        """Load the LoRA weights in `folder` under `name`, cast to `dtype`.

        Raises AdapterError if peft cannot load them, NoEffect if the model's weights differ from the file's after. In both
        cases the model is left without the adapter.
        """
        from peft import PeftModel

        if name in self.names:
            raise AdapterError(f"adapter {name!r} is resident already; unload it first")
        try:
            with quiet_libraries(), packed_weights_kept(self.model):
                if self.names:
                    self.model.load_adapter(str(folder), adapter_name=name, is_trainable=False, autocast_adapter_dtype=False)
                else:
                    self.model = PeftModel.from_pretrained(
                        self.model, str(folder), adapter_name=name, is_trainable=False, autocast_adapter_dtype=False
                    )
                self._prepare_for(name)
        except Exception as error:  # peft, safetensors and torch raise unrelated classes for an unusable adapter
            self._discard(name)
            reason = " ".join(str(error).split())[:300] if str(error) else type(error).__name__
            raise AdapterError(f"adapter in {folder} does not load on this base: {reason}") from error
        self.names = (*self.names, name)
        self._layers = _lora_layers(self.model)
        try:
            self._check_consumed(name, folder)
        except NoEffect:
            self.remove(name)
            raise
        for parameter_name, parameter in self.model.named_parameters():
            if f".{name}." in parameter_name and "lora_" in parameter_name:
                parameter.data = parameter.data.to(dtype)
        for layer in self._layers:
            # This mark makes peft 0.21 refuse DoRA in batches that mix adapters, though it computes them right (a test holds it).
            layer.use_dora.pop(name, None)
        fuse(self._layers)
        self.model.eval()

    def _prepare_for(self, name: str) -> None:
        """Raises AdapterError for a second activated adapter on a quantized base, and unpacks the base for one with DoRA.

        In one batch peft 0.21 gives the second the offsets of the first. DoRA reads the base's weights at each forward, and
        would misread packed ones.
        """
        settings, quantized = self.model.peft_config, getattr(self.model, "quantization_method", None) is not None
        if settings[name].use_dora:
            unpack_weights(self.model)
        others = [other for other in self.names if settings[other].alora_invocation_tokens]
        if quantized and settings[name].alora_invocation_tokens and others:
            raise AdapterError(f"{others[0]!r} is an activated adapter too, and a quantized base takes one; use bf16 or fp32")

    def adopt(self, model: Any, name: str) -> None:
        """Use a peft model that already holds the adapter `name`, such as one in training."""
        self.model, self.names = model, (name,)
        self._layers = _lora_layers(model)

    def remove(self, name: str) -> None:
        """Unload an adapter; the base model is bare again after the last one."""
        if name not in self.names:
            raise AdapterError(f"adapter {name!r} is not resident; resident: {', '.join(self.names) or 'none'}")
        self.names = tuple(n for n in self.names if n != name)
        if self.names:
            self._activate(self.names[0])  # peft warns when it has to choose another active adapter itself
            self.model.delete_adapter(name)
        else:
            self.model, self._layers = self.model.unload(), []

    def _discard(self, name: str) -> None:
        """Remove what a failed load has put on the model: peft leaves it there half done, and it changes replies."""
        if self.names:
            if name in self.model.peft_config:
                self.model.delete_adapter(name)
            return
        for path, module in [(p, m) for p, m in self.model.named_modules() if hasattr(m, "lora_A") and hasattr(m, "base_layer")]:
            parent, _, child = path.rpartition(".")
            setattr(self.model.get_submodule(parent), child, module.base_layer)
        self.model.__dict__.pop("peft_config", None)

    def _weights_in_model(self, name: str) -> dict[str, Any]:
        """The adapter's weights in the model under the names that the file gives them.

        Read from the parameters: `state_dict()` harms a base in 4 bit (see `packed_weights_kept`), and peft's reader of it
        looks up the base that the settings name.
        """
        ending = re.compile(rf"(\.lora_\w+)\.{re.escape(name)}(?=\.|$)")
        found = {ending.sub(r"\1", key): value for key, value in self.model.named_parameters() if ending.search(key)}
        return {key.replace(_LENGTHS, _LENGTHS.removesuffix(".weight")): value for key, value in found.items()}

    def _check_consumed(self, name: str, folder: Path) -> None:
        from safetensors import safe_open

        in_model = self._weights_in_model(name)
        with safe_open(str(folder / "adapter_model.safetensors"), framework="pt") as file:
            keys = {key.removesuffix(".weight") if key.endswith(_LENGTHS) else key: key for key in file.keys()}  # noqa: SIM118
            unused, unset = sorted(keys.keys() - in_model.keys()), sorted(in_model.keys() - keys.keys())
            if unused or unset:
                example = (unused or unset)[0]
                raise NoEffect(
                    f"adapter in {folder}: {len(unused)} weights name no module of this base and {len(unset)} modules got no "
                    f"weight (such as {example}); it was made for another architecture or is incomplete"
                )
            # A base in bf16 or fp16 stores adapters in that type too: equal means equal after that rounding.
            differing = [
                k for k in sorted(keys) if not bool((file.get_tensor(keys[k]).to(in_model[k].dtype) == in_model[k].cpu()).all())
            ]
        if differing:
            raise NoEffect(f"adapter in {folder}: weight {differing[0]} did not arrive in the model as it lies in the file")

    def require(self, names: Iterable[str]) -> None:
        """Raises AdapterError for a name that is not resident."""
        unknown = sorted(set(names) - set(self.names) - {BASE_ROW})
        if unknown:
            raise AdapterError(f"adapter {unknown[0]!r} is not resident; resident: {', '.join(self.names) or 'none'}")

    @contextmanager
    def routed(self, names: Sequence[str]) -> Iterator[bool]:
        """Within: a batch whose rows use adapters `names` may run. Yields whether the forward needs per-row `adapter_names`.

        Raises AdapterError for a name that is not resident.
        """
        self.require(names)
        distinct = set(names)
        if len(distinct) > 1:
            self._activate(next(n for n in names if n != BASE_ROW))
            yield True
            return
        self._activate(next(iter(distinct)))
        yield False

    def _activate(self, name: str) -> None:
        bare = name == BASE_ROW
        for layer in self._layers:
            layer._disable_adapters = bare
            if not bare:
                layer._active_adapter = [name]


def _lora_layers(model: Any) -> list[Any]:
    return [module for module in model.modules() if hasattr(module, "lora_A") and hasattr(module, "_active_adapter")]
