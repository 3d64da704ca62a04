"""YAML text → plain values and the line of every key. Strict: one document, a mapping, no duplicate key. Knows no schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lorag.pipeline.errors import ConfigError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ParsedYaml:
    """`value` is the parsed text; `lines` gives the line (from 1) of each key or list item by its path."""

    value: Mapping[str, Any]
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """The line of `path`, or of the nearest key above it; 1 for the root."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_yaml(text: str, name: str) -> ParsedYaml:
    """Read a mapping. Raises ConfigError `NAME:LINE: …` for broken YAML, a key given twice, or anything but a mapping."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        reason = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{where}: broken YAML: {_unquoted(reason)}; check indentation, quotes and colons") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: broken YAML: {_unquoted(str(error).splitlines()[0])}") from None
    if not isinstance(root, yaml.MappingNode) or not isinstance(value, dict):
        found = "nothing" if value is None else type(value).__name__
        raise ConfigError(f"{name}: must hold `key: value` lines, found {found}; `lorag init` writes one to start from")
    lines: dict[KeyPath, int] = {}
    for path, line in _walk(root, (), ()):
        if path in lines:
            raise ConfigError(f"{name}:{line}: {'.'.join(map(str, path))}: given twice, first on line {lines[path]}; remove one")
        lines[path] = line
    return ParsedYaml(value, lines)


def _unquoted(reason: str) -> str:
    """`reason` without the words that yaml quotes from the file: one may be a secret."""
    return re.sub(r"'[^']{3,}'", "…", reason)


def _walk(node: yaml.Node, path: KeyPath, above: tuple[int, ...]) -> Iterator[tuple[KeyPath, int]]:
    if id(node) in above:  # an anchor that holds itself
        return
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _walk(value, inner, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), item.start_mark.line + 1
            yield from _walk(item, (*path, index), above)
