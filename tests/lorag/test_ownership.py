"""The id of a project: made once, stored, and the same for every caller; and two projects on one store by the settings alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lorag.assembly import open_index
from lorag.ownership import FILE, ProjectId
from lorag.pipeline.config import Settings, load_settings
from lorag.pipeline.errors import ConfigError, IndexOwned
from lorag.pipeline.retrieval.client_store import ClientStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder


def test_an_id_is_made_once(tmp_path: Path) -> None:
    project = ProjectId(tmp_path / "handbook")
    assert project.current_id() == "" and not project.file.exists()
    made = project.ensure_id()
    assert (
        len(made) == 32
        and (project.ensure_id(), project.current_id(), ProjectId(tmp_path / "handbook").ensure_id()) == (made,) * 3
    )
    assert project.file == tmp_path / "handbook" / FILE
    assert ProjectId(tmp_path / "other").ensure_id() != made


def test_all_that_ask_at_once_get_the_same_id(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: ProjectId(tmp_path).ensure_id(), range(16)))) == 1


@pytest.mark.parametrize("text", ["", "not an id", "A" * 32, "a" * 33, "\u00e4"])
def test_a_file_that_holds_no_id_is_told(tmp_path: Path, text: str) -> None:
    project = ProjectId(tmp_path)
    project.file.parent.mkdir()
    project.file.write_text(text, encoding="utf-8")
    for call in (project.current_id, project.ensure_id):
        with pytest.raises(ConfigError, match=r"project\.id: "):
            call()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / ".lorag").write_text("a file")
    with pytest.raises(ConfigError, match=r"project\.id: cannot be"):
        ProjectId(tmp_path).ensure_id()


def settings_of(folder: Path, text: str) -> Settings:
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "one.md").write_text(text)
    (folder / "lorag.yaml").write_text("documents: docs\nstore: {kind: qdrant, url: 'http://localhost:6333'}\n")
    return load_settings(folder)


def test_two_projects_with_the_default_collection_on_one_server(tmp_path: Path) -> None:
    server = ClientStore(":memory:")
    first, second = settings_of(tmp_path / "a", "The porter has the key."), settings_of(tmp_path / "b", "The ferry is late.")
    assert (first.project, second.project) == (tmp_path / "a", tmp_path / "b")
    ours, theirs = (open_index(settings, HashingEmbedder(32), server) for settings in (first, second))
    ours.ingest(first.documents)
    with pytest.raises(IndexOwned, match="set `store.collection`"):
        theirs.ingest(second.documents)
    assert [hit.passage.text for hit in ours.search("key", 4)] == ["The porter has the key."]
    apart = second.model_copy(update={"store": second.store.model_copy(update={"collection": "ferries"})})
    open_index(apart, HashingEmbedder(32), server).ingest(second.documents)
    assert ours.info().passages == 1
