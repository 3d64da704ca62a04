"""Every link of README and docs leads somewhere, in the repository itself and not only in the site that is built from it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docs.hooks import generated
from tests.test_structure import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<(https?://[^>]+)>")
FENCED = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Where a page's links lead, those in code left out."""
    text = re.sub(r"`[^`\n]*`", "", FENCED.sub("", page.read_text(encoding="utf-8")))
    return [inline or bare for inline, bare in LINK.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    made = {(ROOT / "docs" / each).resolve() for each in generated()}
    for link in links(page):
        if ":" in link.split("/")[0]:
            parts = urlsplit(link)
            assert parts.scheme in ("https", "http") and parts.hostname, link
            assert parts.scheme == "https" or parts.hostname == "127.0.0.1", link
        elif not link.startswith("#"):
            target = (page.parent / link.split("#")[0]).resolve()
            assert target.exists() or (target in made and page.name != "README.md"), link


def test_every_page_is_reached_from_the_navigation() -> None:
    text = (ROOT / ".properdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"^ +- .*: (\S+\.md)$", text, flags=re.MULTILINE))
    made = {page for page in generated() if page.endswith(".md")}
    assert named == {str(page.relative_to(ROOT / "docs")) for page in PAGES[1:]} | made
