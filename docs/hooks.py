"""What the site's builder calls: the pages that are made from the code and stand in no file, and the colours of code."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from properdocs.config.defaults import ProperDocsConfig
from properdocs.structure.files import File, Files
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parent.parent
SHORT_CELL = re.compile(r"<td>([^<]{1,26}|<code>[^<]{1,34}</code>)</td>")
"""A figure with its interval, a word or two, a name: a cell that is not broken."""


def generated() -> Mapping[str, Callable[[], str]]:
    """File of the site → what writes it. The checkout comes first on the path, whatever else is called `docs`."""
    sys.path.insert(0, str(ROOT))
    from docs.generate.api import api
    from docs.generate.commands import commands
    from docs.generate.errors import errors
    from docs.generate.python import python
    from docs.generate.recipes import recipes
    from docs.generate.settings import settings

    return {
        "reference/commands.md": commands,
        "reference/settings.md": settings,
        "reference/recipes.md": recipes,
        "reference/api.md": api,
        "reference/python.md": python,
        "reference/errors.md": errors,
        "changes.md": lambda: (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "code.css": _colours,
    }


def _colours() -> str:
    light, dark = (
        HtmlFormatter(style=style).get_style_defs(f'[data-bs-theme="{theme}"] .codehilite')
        for theme, style in (("light", "friendly"), ("dark", "monokai"))
    )
    return f"{light}\n{dark}\n.codehilite {{ background: none !important; }}\n"


def on_files(files: Files, config: ProperDocsConfig) -> Files:
    for name, write in generated().items():
        files.append(File.generated(config, name, content=write()))
    return files


def on_page_content(html: str, **_: Any) -> str:
    return SHORT_CELL.sub(r'<td class="short">\1</td>', html)
