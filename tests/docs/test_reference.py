"""The generated reference names everything that there is, and the site builds strictly and stays on its own host."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

import lorag
from docs.generate.api import api, document
from docs.generate.commands import commands
from docs.generate.fields import allowed, default, record_of
from docs.generate.markdown import cell, code, name, page, table
from docs.generate.python import python, said, signature
from docs.generate.recipes import recipes
from docs.generate.settings import comments, settings
from lorag.pipeline.config import TEMPLATE, Settings
from tests.test_structure import ROOT


def leaves(record: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for key, field in record.model_fields.items():
        inner = record_of(field)
        found += leaves(inner, f"{prefix}{key}.") if inner else [prefix + key]
    return found


# --- pieces ---


def test_a_cell_cannot_break_its_table() -> None:
    assert cell("a | b\n <c> `<d>`") == "a \\| b &lt;c> `<d>`"
    assert name("-o <text|json>") == "`-o <text\\|json>`"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert table(["a"], []) == ""
    assert page("a", "", code("x\n")) == "a\n\n```text\nx\n```\n"


class Shown(BaseModel):
    share: float = Field(0.5, ge=0, lt=1)
    names: list[str] = Field(default_factory=list)
    word: str | None = None
    needed: int


def test_a_field_is_described_in_words() -> None:
    fields = Shown.model_fields
    assert allowed(fields["share"]) == "a number, at least 0, less than 1"
    assert allowed(fields["names"]) == "a list of text"
    assert allowed(fields["word"]) == "text or null"
    assert [default(field) for field in fields.values()] == ["0.5", "[]", "null", "(required)"]


def test_comments_belong_to_the_key_below_them() -> None:
    text = "# about the file\n\n# one\n# two\na: 1\nb:\n  # inner\n  c: 2\n"
    assert comments(text) == {"a": "one two", "b": "", "b.c": "inner"}
    with pytest.raises(ValueError, match="above no key"):
        comments("a: 1\n# lost\n")


# --- pages ---


def test_every_setting_stands_in_the_reference_with_its_meaning() -> None:
    text = settings()
    said = comments(TEMPLATE)
    for leaf in leaves(Settings):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{leaf}` |")]
        assert said[leaf], f"{leaf} has no comment in the template"
        assert cell(said[leaf]) in row


def test_every_command_stands_in_the_reference_with_its_options() -> None:
    text = commands()
    for command in ("lorag init", "lorag train", "lorag eval adapter", "lorag adapters promote", "lorag keys add"):
        assert f"\n## {command}\n" in text
    assert "| `--from ADAPTER` | Go on from this adapter" in text


def test_every_bundled_recipe_is_shown_whole() -> None:
    text = recipes()
    files = sorted((ROOT / "training" / "recipes").glob("*.yaml"))
    assert len(files) >= 8
    for path in files:
        assert f"### {path.stem}\n\n```yaml\n{path.read_text(encoding='utf-8').rstrip()}\n```" in text


def test_every_route_and_shape_of_the_api_is_shown() -> None:
    text, found = api(), document()
    for path, methods in found["paths"].items():
        for method in methods:
            assert f"\n## {method.upper()} {path}\n" in text
    for shape in found["components"]["schemas"]:
        assert f"\n### {shape}\n" in text


def plain(folder: str | Path = ".", *, rebuild: bool = False) -> None:
    """Does it.

    Then more.

        project.do()
    """


def test_a_signature_is_as_it_is_written() -> None:
    assert signature(plain) == "(folder: str | Path = '.', *, rebuild: bool = False) -> None"
    assert said(plain) == "Does it.\n\nThen more.\n\n```python\nproject.do()\n```"


def test_every_public_name_and_what_a_project_does_is_shown() -> None:
    text = python()
    for public in lorag.__all__:
        assert public.startswith("_") or f"\n## lorag.{public}\n" in text
    for method in ("ingest", "ask", "train", "promote", "serve", "chain", "aask"):
        assert f"\n### Project.{method}\n" in text


# --- the site ---


class Loaded(HTMLParser):
    """What a page loads by itself, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in ("script", "img", "iframe", "source") and found.get("src"):
            self.loads.append(found["src"] or "")
        if tag == "link" and found.get("rel") not in ("canonical",):
            self.loads.append(found.get("href") or "")
        if tag == "a":
            self.leads.append(found.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, built as `make docs` builds it: a link or anchor that leads nowhere ends the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "properdocs",
        "build",
        "--strict",
        "--config-file",
        ".properdocs.yml",
        "--site-dir",
        str(folder),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_loads_nothing_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= 30
    for path in pages:
        seen = Loaded()
        seen.feed(path.read_text(encoding="utf-8"))
        assert [url for url in seen.loads if re.match(r"(https?:)?//", url)] == [], path.relative_to(site)
    for path in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?https?:|@import", path.read_text(encoding="utf-8")) == [], path.relative_to(site)


def test_every_link_within_the_site_leads_to_a_page_and_a_place_on_it(site: Path) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html") if path.name != "404.html"}
    for path, text in texts.items():
        seen = Loaded()
        seen.feed(text)
        for link in seen.leads:
            if re.match(r"[a-z]+:|#?$", link):
                continue
            file, _, place = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target in texts, f"{path.relative_to(site)}: {link}"
            assert not place or re.search(rf'id="{re.escape(place)}"', texts[target]), f"{path.relative_to(site)}: {link}"
