"""The reference of errors: the tree as `pipeline/errors.py` draws it."""

from __future__ import annotations

import inspect

from docs.generate.markdown import code, page
from lorag.pipeline import errors as tree


def errors() -> str:
    """What can be raised on purpose."""
    said, _, drawn = (inspect.getdoc(tree) or "").partition("\n\n")
    return page("# Errors", said, "All are in `lorag.pipeline.errors`.", code(drawn))
