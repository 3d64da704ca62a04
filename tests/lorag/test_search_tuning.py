"""Search weights of a project: chosen on dev rows, stored for their encoder, used by the next search."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import lorag
from lorag.assembly import search_weights
from lorag.pipeline.errors import ConfigError, DataError, NothingIngested
from lorag.pipeline.evaluation.search_weights import GRID
from lorag.pipeline.retrieval.embedder import HashingEmbedder, TokenVectors, Vectors
from lorag.pipeline.retrieval.weights import SearchWeights
from lorag.search_tuning import FILE

THINGS = ("pump", "mast", "keel", "winch")


class Misleading(HashingEmbedder):
    """Its vectors and token vectors find the passage about the next thing; only words find the right one."""

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return super().embed_queries([self._moved(text) for text in texts])

    def query_tokens(self, texts):  # type: ignore[no-untyped-def]
        return super().query_tokens([self._moved(text) for text in texts])

    def _moved(self, text: str) -> str:
        at = next(n for n, thing in enumerate(THINGS) if thing in text)
        return f"the {THINGS[(at + 1) % len(THINGS)]} the {THINGS[(at + 1) % len(THINGS)]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "handbook"
    (made / "docs").mkdir(parents=True)
    for thing in THINGS:
        text = f"# {thing}\n\nThe {thing} is checked by the crew of the {thing} every day.\n"
        (made / f"docs/{thing}.md").write_text(text, encoding="utf-8")
    (made / "lorag.yaml").write_text("documents: docs\nbase: {model: ./no-such-base}\n", encoding="utf-8")
    return made


def rows(folder: Path, passages: dict[str, str], groups: int = 4) -> Path:
    (folder / "rows/dev").mkdir(parents=True, exist_ok=True)
    made = [
        {"query_id": thing, "query": f"who checks the {thing}?", "positive_ids": [passages[thing]], "group": f"g{n % groups}"}
        for n, thing in enumerate(THINGS)
    ]
    (folder / "rows/dev/embedder.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return folder / "rows"


def ids(project: lorag.Project) -> dict[str, str]:
    return {passage.title: passage.id for passage in project.index.passages()}


def test_weights_are_chosen_stored_and_used(folder: Path) -> None:
    embedder = Misleading(4096)
    with lorag.open(folder, embedder=embedder) as project:
        project.ingest()
        data = rows(folder, ids(project))
        assert project.index.search("who checks the pump?", 1)[0].passage.title == "mast"
        chosen = project.tune_search(data)
        assert chosen.weights.words > chosen.weights.vectors + chosen.weights.tokens
        assert (chosen.questions, chosen.groups) == (4, 4)
        assert project.index.search("who checks the pump?", 1)[0].passage.title == "pump"
        assert search_weights(project.settings, embedder) == chosen.weights
        assert search_weights(project.settings, HashingEmbedder(64)) == SearchWeights()
    (entry,) = json.loads((folder / FILE).read_text(encoding="utf-8")).values()
    assert entry["weights"] == chosen.weights.to_dict()
    assert (entry["metric"], entry["questions"], entry["groups"]) == ("nDCG@10", 4, 4)
    assert entry["tried"][0]["difference"] == 0.0


class Counting(HashingEmbedder):
    """Counts the texts that it reads."""

    def __init__(self) -> None:
        super().__init__(64)
        self.read: list[tuple[str, str]] = []

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        self.read += [("question", text) for text in texts]
        return super().embed_queries(texts)

    def query_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        self.read += [("question's tokens", text) for text in texts]
        return super().query_tokens(texts)

    def passage_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        self.read += [("passage's tokens", text) for text in texts]
        return super().passage_tokens(texts)


def test_tuning_embeds_each_question_and_each_passage_once(folder: Path) -> None:
    embedder, done = Counting(), list[tuple[int, int]]()
    with lorag.open(folder, embedder=embedder) as project:
        project.ingest()
        chosen = project.tune_search(rows(folder, ids(project)), on_progress=lambda at, of: done.append((at, of)))
    assert len(chosen.tried) == len(GRID) > 10
    assert len(embedder.read) == len(set(embedder.read)) == 2 * len(THINGS) + len(THINGS)
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_weights_in_the_settings_win_and_are_not_tuned(folder: Path) -> None:
    embedder = HashingEmbedder(64)
    with (folder / "lorag.yaml").open("a", encoding="utf-8") as file:
        file.write("retrieval: {weights: {words: 3.0}}\n")
    with lorag.open(folder, embedder=embedder) as project:
        assert search_weights(project.settings, embedder) == SearchWeights(3.0, 0.15, 1.0)
        with pytest.raises(ConfigError, match="set it to null first"):
            project.tune_search(folder)


def test_a_cross_encoder_takes_the_place_of_token_vectors(folder: Path) -> None:
    with (folder / "lorag.yaml").open("a", encoding="utf-8") as file:
        file.write("retrieval: {rerank: ./cross}\n")
    with lorag.open(folder) as project:
        assert search_weights(project.settings, HashingEmbedder(64)) == SearchWeights(0.15, 0.15, 0.0)


def test_bad_input(folder: Path) -> None:
    with lorag.open(folder, embedder=HashingEmbedder(64)) as project:
        with pytest.raises(DataError, match="nowhere is no folder"):
            project.tune_search(folder / "nowhere")
        with pytest.raises(NothingIngested):
            project.tune_search(rows(folder, dict.fromkeys(THINGS, "x")))
        project.ingest()
        with pytest.raises(DataError, match="names passage 'x', which the index does not hold"):
            project.tune_search(rows(folder, dict.fromkeys(THINGS, "x")))


@pytest.mark.parametrize("content", ["[]", "{", '{"%s": {}}', '{"%s": {"weights": {"words": "many"}}}'])
def test_a_damaged_file_is_named(folder: Path, content: str) -> None:
    embedder = HashingEmbedder(64)
    (folder / FILE).parent.mkdir(parents=True)
    (folder / FILE).write_text(content.replace("%s", embedder.identity.digest()), encoding="utf-8")
    with lorag.open(folder) as project, pytest.raises(ConfigError, match=r"search\.json: holds no search weights"):
        search_weights(project.settings, embedder)
