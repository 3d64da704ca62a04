"""The files of the page and the headers they are served with; no browser needed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lorag.services.web import HEADERS, POLICY, STATIC, mount

FILES = sorted(path for path in STATIC.iterdir() if path.is_file())


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = FastAPI()
    mount(app)
    with TestClient(app) as made:
        yield made


@pytest.mark.parametrize("path", ["/", *(f"/static/{file.name}" for file in FILES)])
def test_every_file_is_served_with_its_type_and_the_headers(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    kinds = {"": "text/html", "html": "text/html", "css": "text/css", "js": "javascript", "svg": "image/svg+xml"}
    assert kinds[path.rpartition("/")[2].rpartition(".")[2]] in response.headers["Content-Type"]
    again = client.get(path, headers={"If-None-Match": response.headers["ETag"]})
    assert again.status_code in (200, 304)


def test_the_policy_allows_no_inline_code_and_no_other_host() -> None:
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["object-src"] == rules["base-uri"] == "'none'"
    assert not re.search(r"unsafe|https?:|\*", POLICY)


@pytest.mark.parametrize("path", ["/static/../__init__.py", "/static/%2e%2e/__init__.py", "/static/", "/static/none.js"])
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_page_names_no_other_host_and_never_parses_text_as_markup() -> None:
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), file.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|srcdoc", text), file.name


def test_every_file_is_used() -> None:
    """By the page, a module or a style sheet."""
    texts = {file.name: file.read_text(encoding="utf-8") for file in FILES}
    for name in texts.keys() - {"index.html", "review.html"}:
        assert any(name in text for other, text in texts.items() if other != name), name
