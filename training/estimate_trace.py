"""The activations that a model with an adapter keeps for its backward pass, found by running its code without weights.

The model is built from its config alone on torch's meta device, gets its adapter, and reads one made-up batch. Its
tensors have a shape, a type and a device but no memory (torch's FakeTensorMode). A hook of autograd gets every tensor that it
saves. So the figure follows the family, the attention, the adapter's kind and mixed precision by itself; a formula would have to
know each. Tests compare it with one worked by hand and with a real pass. Takes seconds for any model size. Knows no rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.errors import BaseError
from lorag.training.attention import use_lean_attention
from lorag.training.lora_options import lora_config
from lorag.training.recipe_parts import GenerationLora, LoraShape
from lorag.training.targets import require_targets


@dataclass(frozen=True, slots=True)
class Traced:
    """A model with its adapter, and the activations that its traced batch keeps. Counts are of parameters, sizes in bytes.

    `linear` and `linear_outputs` are of the frozen matrices that quantization takes (all but the output embedding), `widest` the
    largest of them. `weight_copies` are copies of weights that mixed precision keeps in each pass, for any batch.
    `saved_tensors` has one size per tensor of the batch. `layer_inputs`, `widest_layer` and `in_layers` (of all layers) are for
    recomputed activations.
    """

    parameters: int
    trainable: int
    linear: int
    linear_outputs: int
    widest: int
    weight_copies: int
    saved_tensors: tuple[int, ...]
    layer_inputs: int
    widest_layer: int
    in_layers: int


def trace_generation(folder: str, shape: GenerationLora, tokens: int, compute: str, device: str) -> Traced:
    """One row of `tokens` through the causal LM whose config lies in `folder`, as SFT runs it.

    Raises BaseError, and TrainingError for a target that it does not have.
    """
    import torch
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, compute)
    model = _on_meta(AutoModelForCausalLM, folder, dtype)
    model.config.use_cache = False
    if device == "cpu":
        use_lean_attention(model)
    require_targets(model, shape, folder)
    frozen = _Frozen.of(model)
    tuned = _with_adapter(model, lora_config(shape, invocation=(0,)))
    if compute == "bfloat16":  # as training does under mixed precision
        for module in tuned.modules():
            if hasattr(module, "cast_input_dtype_enabled"):
                module.cast_input_dtype_enabled = False

    def read() -> Any:
        ids = torch.zeros(1, tokens, dtype=torch.long)
        mask = torch.zeros(1, 1, tokens, tokens, dtype=dtype)
        return tuned(input_ids=ids, attention_mask=mask, position_ids=ids, use_cache=False, logits_to_keep=1)

    return _trace(tuned, frozen, read, mixed=compute == "bfloat16")


def trace_encoder(folder: str, shape: LoraShape, rows: int, tokens: int, compute: str) -> Traced:
    """`rows` texts of `tokens` each through the encoder in `folder`, float32 under mixed precision.

    Raises as `trace_generation`.
    """
    import torch
    from transformers import AutoModel

    model = _on_meta(AutoModel, folder, torch.float32)
    require_targets(model, shape, folder)
    frozen = _Frozen.of(model)
    config = lora_config(shape)
    config.task_type, config.exclude_modules = "FEATURE_EXTRACTION", r"(.*\.)?pooler\..*"
    tuned = _with_adapter(model, config)

    def read() -> Any:
        ids = torch.zeros(rows, tokens, dtype=torch.long)
        return tuned(input_ids=ids, attention_mask=torch.ones(rows, 1, tokens, tokens, dtype=torch.bool))

    return _trace(tuned, frozen, read, mixed=compute == "bfloat16")


@dataclass(frozen=True, slots=True)
class _Frozen:
    """Counts of a model before its adapter."""

    parameters: int
    linear: int
    linear_outputs: int
    widest: int

    @classmethod
    def of(cls, model: Any) -> _Frozen:
        import torch

        last = model.get_output_embeddings()
        layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not last]
        sizes = [layer.weight.numel() for layer in layers]
        return cls(model.num_parameters(), sum(sizes), sum(layer.out_features for layer in layers), max(sizes, default=0))


def _on_meta(kind: Any, folder: str, dtype: Any) -> Any:
    import torch
    from transformers import AutoConfig

    try:
        with quiet_libraries(), torch.device("meta"):
            return kind.from_config(AutoConfig.from_pretrained(folder, trust_remote_code=False), dtype=dtype)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BaseError(f"{folder}: its config does not make a model: {reason}") from error


def _with_adapter(model: Any, config: Any) -> Any:
    from peft import get_peft_model

    with quiet_libraries():
        return get_peft_model(model, config, low_cpu_mem_usage=True)


@dataclass(slots=True)
class _SavedTensors:
    """Counts the storages that autograd saves, each once, without the model's own. Hooks mark the layers."""

    own: frozenset[int]
    shapes: frozenset[tuple[int, ...]]
    tensors: dict[int, Any] = field(default_factory=dict)
    copies: int = 0
    layer_inputs: int = 0
    layers: list[int] = field(default_factory=list)
    _before_layer: int = 0

    def keep(self, tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.own and storage._cdata not in self.tensors:
            self.tensors[storage._cdata] = tensor
            if tuple(tensor.shape) in self.shapes:
                self.copies += storage.nbytes()
        return tensor

    def total(self) -> int:
        return sum(tensor.untyped_storage().nbytes() for tensor in self.tensors.values())

    def enter(self, module: Any, args: tuple[Any, ...]) -> None:
        self._before_layer = self.total()
        self.layer_inputs += args[0].untyped_storage().nbytes() if args else 0

    def leave(self, module: Any, args: Any, output: Any) -> None:
        self.layers.append(self.total() - self._before_layer)

    def batch(self) -> tuple[int, ...]:
        return tuple(t.untyped_storage().nbytes() for t in self.tensors.values() if tuple(t.shape) not in self.shapes)


def _trace(model: Any, frozen: _Frozen, read: Callable[[], Any], *, mixed: bool) -> Traced:
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    model.train()
    with _without_memory(model), quiet_libraries():
        saved = _SavedTensors(*_own_storages(model))
        _watch_layers(model, saved)
        with saved_tensors_hooks(saved.keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            read()
    return Traced(
        parameters=frozen.parameters,
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        linear=frozen.linear,
        linear_outputs=frozen.linear_outputs,
        widest=frozen.widest,
        weight_copies=saved.copies,
        saved_tensors=saved.batch(),
        layer_inputs=saved.layer_inputs,
        widest_layer=max(saved.layers, default=0),
        in_layers=sum(saved.layers),
    )


@contextmanager
def _without_memory(model: Any) -> Iterator[None]:
    """Context in which all tensors are fake, with those of the model on a fake CPU."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    made: dict[int, Any] = {}
    with FakeTensorMode():
        for module in model.modules():
            for table, kind in ((module._parameters, torch.nn.Parameter), (module._buffers, torch.Tensor)):
                for name, tensor in table.items():
                    if tensor is None:
                        continue
                    if id(tensor) not in made:
                        empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
                        made[id(tensor)] = (
                            torch.nn.Parameter(empty, requires_grad=tensor.requires_grad)
                            if kind is torch.nn.Parameter
                            else empty,
                            tensor,  # kept alive, so that its id stays unique
                        )
                    table[name] = made[id(tensor)][0]
        yield


def _own_storages(model: Any) -> tuple[frozenset[int], frozenset[tuple[int, ...]]]:
    """The storages of a model's own tensors, and the shapes that a copy of one of its matrices may have."""
    own = frozenset(tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers()))
    matrices = {tuple(p.shape) for p in model.parameters() if p.ndim == 2}
    return own, frozenset(matrices | {shape[::-1] for shape in matrices})


def _watch_layers(model: Any, saved: _SavedTensors) -> None:
    from transformers.modeling_layers import GradientCheckpointingLayer

    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.register_forward_pre_hook(saved.enter)
            module.register_forward_hook(saved.leave)
