"""The public standard suites of langchain-tests for the chat model and the retriever, none of their tests overridden.

The suites' own properties say what the model has: text in and out, usage, another model by name; no tools, no structured
output, no images. Tests of what it has not are skipped by the suites.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import ChatModelIntegrationTests, RetrieversIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.client_store import ClientStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.runnables import LoragChatModel, LoragRetriever
from lorag.pipeline.stages import Retriever


class Ours:
    """The class under test and what it can do."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return LoragChatModel

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "base"


class TestChatModelUnit(Ours, ChatModelUnitTests):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"engine": ScriptedEngine(lambda request: "The ferry leaves at noon."), "adapter": "synthesizer"}


class TestChatModel(Ours, ChatModelIntegrationTests):
    """The engine with a real adapter on a real, tiny base."""

    engine: LocalEngine

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _engine(cls, tiny_base: Path, tiny_adapter: Callable[[Path, int, Role], Path]) -> None:
        cls.engine = LocalEngine(load_weights(resolve_base(str(tiny_base)), precision=Precision.FP32, device="cpu"))
        cls.engine.load_adapter("rewriter", tiny_adapter(tiny_base, 1, Role.REWRITER))

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"engine": self.engine, "adapter": "rewriter", "max_tokens": 12}


class TestRetriever(RetrieversIntegrationTests):
    """Over a real index of five passages."""

    index: Index

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _index(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        folder = tmp_path_factory.mktemp("documents")
        for quay in range(5):
            text = f"# Quay {quay}\n\nThe ferry to quay {quay} leaves at {quay + 6}:40 on weekdays.\n"
            (folder / f"quay-{quay}.md").write_text(text)
        cls.index = Index(ClientStore(":memory:"), HashingEmbedder())
        cls.index.ingest(folder)
        yield
        cls.index.close()

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return LoragRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"retriever": Retriever(self.index)}

    @property
    def retriever_query_example(self) -> str:
        return "When does the ferry leave?"
