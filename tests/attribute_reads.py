"""Which fields of which records a program reads, by the types that mypy finds: what a setting needs to have any effect.

A field that is only copied into a field of another record, or of a copy of its own, counts if that one is read, and one that a
method of its own record reads counts if the method is used. What is only logged, shown, said in an error, compared before an
error or evaluated for nothing is not read. Reads by name (`getattr`) are known for a `Role`'s value alone. Runs nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from mypy import build
from mypy.modulefinder import BuildSource
from mypy.nodes import (
    Argument,
    AssertStmt,
    AssignmentStmt,
    CallExpr,
    ClassDef,
    Decorator,
    DictExpr,
    Expression,
    ExpressionStmt,
    FuncDef,
    FuncItem,
    IfStmt,
    MemberExpr,
    MypyFile,
    NameExpr,
    Node,
    RaiseStmt,
    RefExpr,
    Statement,
    StrExpr,
    TypeInfo,
)
from mypy.options import Options
from mypy.types import Instance, TupleType, Type, TypeVarType, UnionType, get_proper_type
from pydantic import BaseModel

Member = tuple[str, str]
"""The full name of a class, and the name of one of its fields or methods."""


@dataclass
class Reads:
    """What a program reads: of each member, the modules that read it and the members that it is handed on to.

    `depends` are a module's imports. Names are full ones.
    """

    by_module: dict[Member, set[str]] = field(default_factory=lambda: defaultdict(set))
    handed_to: dict[Member, set[tuple[Member, str]]] = field(default_factory=lambda: defaultdict(set))
    families: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    depends: dict[str, set[str]] = field(default_factory=dict)

    def has(
        self, classes: Collection[str], name: str, ignored: Collection[str] = (), seen: frozenset[Member] = frozenset()
    ) -> bool:
        """Whether the field `name` of an object of these classes, its own and their bases, is read outside `ignored` modules."""
        for member in ((each, name) for each in classes):
            if member in seen:
                continue
            if self.by_module.get(member, set()) - set(ignored):
                return True
            for (owner, other), module in self.handed_to.get(member, set()):
                family = {owner} | self.families.get(owner, set())
                if module not in ignored and self.has(family, other, ignored, seen | {member}):
                    return True
        return False

    def closure(self, module: str) -> set[str]:
        """The module and all that it imports, directly or not."""
        found, waiting = set[str](), [module]
        while waiting:
            if (at := waiting.pop()) not in found:
                found.add(at)
                waiting += self.depends.get(at, ())
        return found


def read_by(sources: Sequence[BuildSource], roots: Iterable[Path] = (), roles: Collection[str] = ()) -> Reads:
    """What these sources read; `roles` are the values of an enum `Role` by which fields are named."""
    options = Options()
    options.preserve_asts = options.export_types = True
    options.incremental = False
    options.follow_imports, options.ignore_missing_imports = "skip", True
    options.mypy_path = [str(root) for root in roots]
    made = build.build(list(sources), options)
    names, reads = {source.module for source in sources}, Reads()
    for name in sorted(names):
        state = made.graph[name]
        reads.depends[name] = set(state.dependencies) & names
        assert state.tree is not None
        _Reader(state.tree, made.types, reads, names).read(roles)
    return reads


class _Reader:
    """Reads one module."""

    def __init__(self, tree: MypyFile, types: Mapping[Expression, Type], reads: Reads, modules: Collection[str]) -> None:
        self._module, self._types, self._reads, self._modules = tree.fullname, types, reads, modules
        self._methods = list(_methods(tree.defs))
        nodes = list(_nodes(tree))
        said = {id(part) for node in nodes for idle in _without_effect(node) for part in _nodes(idle)}
        self._expressions = [node for node in nodes if isinstance(node, CallExpr | MemberExpr) and id(node) not in said]
        self._copied: dict[int, Member] = {}

    def read(self, roles: Collection[str]) -> None:
        for info, _ in self._methods:
            for base in info.mro:
                self._reads.families[info.fullname].add(base.fullname)
                self._reads.families[base.fullname].add(info.fullname)
        for found in self._expressions:
            if isinstance(found, CallExpr):
                self._hand_on(found)
                self._read_by_role(found, roles)
        for found in self._expressions:
            if isinstance(found, MemberExpr):
                self._read(found)

    def _hand_on(self, call: CallExpr) -> None:
        if isinstance(call.callee, MemberExpr) and call.callee.name == "model_copy":
            for info in _infos(self._types.get(call.callee.expr)):
                for key, value in _updates(call):
                    self._copied[id(_converted(value))] = (info.fullname, key)
        if isinstance(call.callee, NameExpr) and call.callee.fullname == "dataclasses.replace":
            for info in _infos(self._types.get(call.args[0])):
                for value, name in zip(call.args[1:], call.arg_names[1:], strict=True):
                    self._copied[id(_converted(value))] = (info.fullname, str(name))
        if (record := _record(call.callee, self._modules)) is not None:
            for place, (value, name) in enumerate(zip(call.args, call.arg_names, strict=True)):
                if (target := name or _nth_field(record, place)) is not None:
                    self._copied[id(_converted(value))] = (record.fullname, target)

    def _read_by_role(self, call: CallExpr, roles: Collection[str]) -> None:
        if not (isinstance(call.callee, RefExpr) and call.callee.name == "getattr" and len(call.args) > 1):
            return
        value, key = call.args[:2]
        if isinstance(key, MemberExpr) and key.name == "value" and "Role" in {i.name for i in _infos(self._types.get(key.expr))}:
            for info in _infos(self._types.get(value)):
                for role in roles:
                    self._reads.by_module[info.fullname, role].add(self._module)

    def _read(self, found: MemberExpr) -> None:
        around = next(
            ((info, method) for info, method in self._methods if method.line <= found.line <= (method.end_line or 0)), None
        )
        for info in _infos(self._types.get(found.expr)):
            member = (info.fullname, found.name)
            if id(found) in self._copied:
                self._reads.handed_to[member].add((self._copied[id(found)], self._module))
            elif around is not None and info in around[0].mro:
                self._reads.handed_to[member].add(((info.fullname, around[1].name), self._module))
            else:
                self._reads.by_module[member].add(self._module)


LOGGED = {"debug", "info", "warning", "error", "exception", "critical", "log"}
SHOWN = {"print", "show", "warn", "on_notice"}


def _without_effect(node: Node) -> Sequence[Node]:
    """The parts of the node that do nothing but tell a person something, check a value, or are evaluated for nothing."""
    match node:
        case RaiseStmt() | AssertStmt():
            return [node]
        case IfStmt(else_body=None) if all(isinstance(each, RaiseStmt) for body in node.body for each in body.body):
            return node.expr
        case ExpressionStmt(expr=MemberExpr()):
            return [node]
        case AssignmentStmt() if all(isinstance(each, NameExpr) and each.name == "_" for each in node.lvalues):
            return [node]
        case CallExpr(callee=RefExpr() as callee):
            receiver = callee.expr.name if isinstance(callee, MemberExpr) and isinstance(callee.expr, RefExpr) else "log"
            return [node] if callee.name in SHOWN or (callee.name in LOGGED and "log" in receiver.casefold()) else []
    return []


def _updates(call: CallExpr) -> Iterator[tuple[str, Expression]]:
    """Key and value of what a `model_copy` changes, if that stands in the call."""
    for value, name in zip(call.args, call.arg_names, strict=True):
        if name == "update" and isinstance(value, DictExpr):
            yield from ((key.value, each) for key, each in value.items if isinstance(key, StrExpr))


def _nodes(root: Node) -> Iterator[Node]:
    """All statements and expressions below `root`. mypy's own visitors are compiled and take no subclass from outside."""
    waiting: list[object] = [root]
    seen = set[int]()
    while waiting:
        at = waiting.pop()
        if isinstance(at, list | tuple):
            waiting += at
        elif isinstance(at, MypyFile | Statement | Expression | FuncItem | Argument) and id(at) not in seen:
            seen.add(id(at))
            yield at
            waiting += [getattr(at, name, None) for name in _parts(type(at))]


@cache
def _parts(kind: type[Node]) -> tuple[str, ...]:
    """Names of the attributes of a node that hold its parts; the others lead to what it refers to."""
    found = {name for base in kind.__mro__ for name, held in vars(base).items() if type(held).__name__ == "getset_descriptor"}
    return tuple(sorted(found - {"node", "info", "original_def", "setter"}))


def _methods(body: Sequence[Statement], owner: TypeInfo | None = None) -> Iterator[tuple[TypeInfo, FuncDef]]:
    for each in body:
        if isinstance(each, ClassDef):
            yield from _methods(each.defs.body, each.info)
        elif owner is not None and isinstance(each, Decorator):
            yield owner, each.func
        elif owner is not None and isinstance(each, FuncDef):
            yield owner, each


def _infos(found: Type | None) -> Iterator[TypeInfo]:
    """The classes that a value of this type may be of."""
    kind = get_proper_type(found)
    if isinstance(kind, Instance):
        yield kind.type
    elif isinstance(kind, UnionType):
        for item in kind.items:
            yield from _infos(item)
    elif isinstance(kind, TypeVarType):
        yield from _infos(kind.upper_bound)
    elif isinstance(kind, TupleType):
        yield from _infos(kind.partial_fallback)


def _record(callee: Expression, modules: Collection[str]) -> TypeInfo | None:
    """The class of our own that a call makes an object of, if its fields are what it is called with."""
    info = callee.node if isinstance(callee, RefExpr) else None
    if not isinstance(info, TypeInfo) or info.module_name not in modules:
        return None
    own = info.get("__init__")
    written = own is not None and isinstance(own.node, FuncDef) and own.node.info.module_name in modules and own.node.line > 0
    return None if written and "dataclass" not in info.metadata else info


def _nth_field(record: TypeInfo, place: int) -> str | None:
    """The field that the argument at `place` fills: mypy makes a dataclass's `__init__`."""
    made = record.get("__init__")
    names = made.node.arg_names[1:] if made is not None and isinstance(made.node, FuncDef) else []
    return names[place] if place < len(names) else None


def _converted(value: Expression) -> Expression:
    """What is handed on, out of a call that only converts it."""
    while isinstance(value, CallExpr) and len(value.args) == 1:
        value = value.args[0]
    return value


def leaves(record: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each key of a settings record, dotted, and the full names of the classes whose field it is: its record and its bases."""
    classes = tuple(f"{each.__module__}.{each.__qualname__}" for each in record.__mro__ if each is not object)
    for name, info in record.model_fields.items():
        kinds = [info.annotation, *getattr(info.annotation, "__args__", ())]
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is not None:
            yield from leaves(inner, (*path, name))
        else:
            yield ".".join((*path, name)), classes
