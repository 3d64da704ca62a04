"""Whether an imported adapter fits a base: by the base's name in it, and by its matrices. Loads no weights.

Names alone prove little, since the same folder may have several. So another name is refused unless the user confirms it, and a
missing name is ignored. In any case every matrix must fit a linear layer of the base.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorag.pipeline.adapters.inspection import WEIGHTS_FILE, module_matrices
from lorag.pipeline.adapters.model_card import hub_name
from lorag.pipeline.errors import BaseError, IdentityMismatch

Layers = Mapping[str, tuple[int, int]]
"""Module name → its input and output width."""


def check_name(folder: Path, named: str, base: str) -> None:
    """Raises IdentityMismatch if the adapter in `folder` names another base than `base`. Of a path only the last part is
    compared."""
    if named and not {named, _last_part(named)} & {base, _last_part(base), hub_name(base)}:
        raise IdentityMismatch(
            f"{folder}: was made for the base {named[:200]}, this project's is {base}; set that in lorag.yaml, "
            "or give --same-base where the two are one"
        )


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def check_fits(folder: Path, layers: Layers, base: str) -> None:
    """Raises IdentityMismatch if a matrix of the adapter in `folder` has no linear layer of its size among `layers`."""
    path = folder / WEIGHTS_FILE
    for module, has in module_matrices(folder).items():
        sizes = (has.a.shape[1], has.b.shape[0])
        if module not in layers:
            raise IdentityMismatch(f"{path}: has matrices for {module}, which is no linear layer of {base}; use its own base")
        if layers[module] != sizes:
            raise IdentityMismatch(
                f"{path}: its matrices for {module} take {sizes[0]} values and give {sizes[1]}, in {base} that layer takes "
                f"{layers[module][0]} and gives {layers[module][1]}; it is for another size of this base"
            )


def linear_layers(location: str, *, embeds: bool) -> Layers:
    """The linear layers of the model in `location`, read from its config alone; `embeds` leaves the output head out.

    Raises BaseError.
    """
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    from lorag.pipeline.engine.quiet import quiet_libraries

    kind: Any = AutoModel if embeds else AutoModelForCausalLM
    try:
        with quiet_libraries(), torch.device("meta"):
            model = kind.from_config(AutoConfig.from_pretrained(location, trust_remote_code=False), trust_remote_code=False)
    except Exception as error:  # transformers raises unrelated classes for a config that it cannot use
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BaseError(f"{location}: no model can be made from its config ({reason})") from error
    linear = torch.nn.Linear
    return {name: (m.in_features, m.out_features) for name, m in model.named_modules() if isinstance(m, linear)}
