"""The context of a base by its configuration: odd ones are read or refused in one line, never with a library's own error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.errors import BaseError
from lorag.training.run import context_of


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"model_type": "llama", "max_position_embeddings": 512}, 512),
        ({"model_type": "llama", "max_position_embeddings": None}, 0),
        ({"model_type": "no-such-model"}, 0),
        ({}, 0),
        ([], 0),
        ({"model_type": "llama", "max_position_embeddings": "many"}, 0),
        ({"model_type": 7}, 0),
    ],
)
def test_an_odd_configuration_is_read_or_refused(tmp_path: Path, config: Any, tokens: int) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if tokens:
        assert context_of(str(tmp_path)) == tokens
    else:
        with pytest.raises(BaseError, match=r"its config.json cannot be used \("):
            context_of(str(tmp_path))
