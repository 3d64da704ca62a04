"""The passages that are read from the files are those of the index, for the project and for each tenant."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.corpus import current_passages
from lorag.pipeline.config import load_settings
from lorag.pipeline.errors import InputError
from lorag.pipeline.retrieval.account import FileAccount
from lorag.services.api.keys import FILE, KeyRing, Scope
from tests.services.api.live_service import closing_index
from tests.services.api.small_service import make_project, serving, upload


def test_they_are_those_of_the_index(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    (project / "docs/rows.jsonl").write_text('{"id": "a", "title": "A", "text": "The bell is rung twice."}\n')
    with closing_index(project) as index:
        index.ingest(project / "docs")
    ring = KeyRing(project / FILE)
    keys = {tenant: ring.add(f"key{tenant}", list(Scope), tenant) for tenant in ("", "acme")}
    with serving(project) as client:
        upload(client, keys[""], {"own.md": "# Own\n\nThe mate keeps the log.\n"})
        upload(client, keys["acme"], {"acme.md": "# Acme\n\nThe clerk keeps the books.\n", "b.txt": "More of it."})
    settings = load_settings(project)
    with closing_index(project) as index:
        for tenant in ("", "acme"):
            expected = sorted((each.id, each.title, each.section, each.text) for each in index.for_tenant(tenant).passages())
            read = sorted((each.id, each.title, each.section, each.text) for each in current_passages(settings, project, tenant))
            assert read == expected
            assert read


def test_no_document_at_all_is_an_error_and_a_broken_one_is_left_out(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    settings = load_settings(project)
    with pytest.raises(InputError, match="the tenant acme has no documents"):
        current_passages(settings, project, "acme")
    with pytest.raises(InputError, match="use lower-case letters"):
        current_passages(settings, project, "../docs")
    uploads = project / ".lorag/uploads/acme"
    uploads.mkdir(parents=True)
    (uploads / "a.md").write_text("The clerk keeps the books.")
    (uploads / "b.pdf").write_bytes(b"no pdf")
    (uploads / "c.exe").write_bytes(b"x")
    seen: list[FileAccount] = []
    passages = current_passages(settings, project, "acme", on_files=seen.extend)
    assert [each.id.partition("#")[0] for each in passages] == ["uploads/a.md"]
    assert [(file.path, file.status.value) for file in seen] == [("a.md", "read"), ("b.pdf", "failed"), ("c.exe", "left_alone")]
    for path in (project / "docs").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no document that can be used"):
        current_passages(settings, project)
