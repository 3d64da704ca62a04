"""`GET /v1/report`: which report is shown, to whom, and what it may do in a browser."""

from __future__ import annotations

import os
from pathlib import Path

from lorag.services.api.keys import KeyRing, Scope
from lorag.services.api.report import newest_report
from tests.services.api.small_service import bearer, make_project, serving


def put(page: Path, text: str, age: int = 0) -> None:
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    then = 1_700_000_000 - age
    os.utime(page, (then, then))


def test_the_newest_page_of_either_folder_is_taken(tmp_path: Path) -> None:
    assert newest_report(tmp_path) is None
    put(tmp_path / ".lorag/ablation/report.html", "<p>é old</p>", age=60)
    put(tmp_path / ".lorag/ablation/report.json", "{}")
    assert newest_report(tmp_path) == "<p>é old</p>"
    put(tmp_path / ".lorag/reports/demo.html", "<p>new</p>", age=30)
    assert newest_report(tmp_path) == "<p>new</p>"
    put(tmp_path / ".lorag/ablation/report.html", "<p>newest</p>")
    assert newest_report(tmp_path) == "<p>newest</p>"


def test_it_is_for_keys_of_the_project_and_reaches_nothing_of_the_service(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    ring = KeyRing(project / ".lorag" / "keys.json")
    own, other = ring.add("own", [Scope.ASK]), ring.add("other", [Scope.ASK], tenant="other")
    with serving(project) as client:
        missing = client.get("/v1/report", headers=bearer(own))
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "no_report")
        put(project / ".lorag/ablation/report.html", "<p>figures</p>")
        assert client.get("/v1/report").status_code == 401
        assert client.get("/v1/report", headers=bearer(other)).status_code == 404
        found = client.get("/v1/report", headers=bearer(own))
        assert (found.status_code, found.text) == (200, "<p>figures</p>")
        assert found.headers["Content-Type"] == "text/html; charset=utf-8"
        rules = found.headers["Content-Security-Policy"].split("; ")
        assert {"sandbox allow-scripts", "default-src 'none'"} <= set(rules), "an origin of its own, and no connection"
