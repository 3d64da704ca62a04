"""LoRAG: question answering over your documents, every stage tuned with LoRA.

    import lorag

    with lorag.open("handbook") as project:
        project.ingest()
        print(project.ask("Who keeps the key?").answer.text)

The names below are the public ones. Each is loaded when it is first used, so `import lorag` is fast and loads no model
library. The packages `lorag.pipeline`, `lorag.training` and `lorag.services` are imported as usual.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorag.evaluating.evaluation import Evaluation
    from lorag.opening import init_project as init
    from lorag.opening import open_project as open
    from lorag.pipeline.adapters.evidence import Evidence
    from lorag.pipeline.chain import Final, TextDelta
    from lorag.pipeline.config import Settings
    from lorag.pipeline.errors import InputError, LoragError
    from lorag.pipeline.records import Answer, Citation, Hit, Passage, Query, Response, Role, Speaker, Turn, Verdict
    from lorag.pipeline.retrieval.ingest import IngestReport
    from lorag.project import Project

    __version__: str

__all__ = [
    "Answer",
    "Citation",
    "Evaluation",
    "Evidence",
    "Final",
    "Hit",
    "IngestReport",
    "InputError",
    "LoragError",
    "Passage",
    "Project",
    "Query",
    "Response",
    "Role",
    "Settings",
    "Speaker",
    "TextDelta",
    "Turn",
    "Verdict",
    "__version__",
    "init",
    "open",
]

_RECORDS = ("Answer", "Citation", "Hit", "Passage", "Query", "Response", "Role", "Speaker", "Turn", "Verdict")
_HOMES = {
    **{name: ("lorag.pipeline.records", name) for name in _RECORDS},
    "Evaluation": ("lorag.evaluating.evaluation", "Evaluation"),
    "Evidence": ("lorag.pipeline.adapters.evidence", "Evidence"),
    "Final": ("lorag.pipeline.chain", "Final"),
    "IngestReport": ("lorag.pipeline.retrieval.ingest", "IngestReport"),
    "InputError": ("lorag.pipeline.errors", "InputError"),
    "LoragError": ("lorag.pipeline.errors", "LoragError"),
    "Project": ("lorag.project", "Project"),
    "Settings": ("lorag.pipeline.config", "Settings"),
    "TextDelta": ("lorag.pipeline.chain", "TextDelta"),
    "init": ("lorag.opening", "init_project"),
    "open": ("lorag.opening", "open_project"),
}
"""Public name → its module and its name there."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from lorag.version import lorag_version

        return lorag_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'lorag' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = globals()[name] = getattr(importlib.import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
