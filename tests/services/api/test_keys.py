"""The key file: what is kept, what opens, and the commands that change it."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.errors import ConfigError, InputError
from lorag.services.api import keys as keys_module
from lorag.services.api.keys import FILE, Caller, KeyRing, Scope
from tests.services.api.small_service import make_project


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / FILE)


def test_a_key_opens_what_it_was_made_for_and_nothing_else_does(ring: KeyRing) -> None:
    web = ring.add("web", [Scope.INGEST, Scope.ASK, Scope.ASK], tenant="acme")
    ops = ring.add("ops", [Scope.ADMIN])
    assert ring.check(web) == Caller("web", frozenset({"ask", "ingest"}), "acme")
    assert ring.check(ops) == Caller("ops", frozenset({"admin"}), "")
    for wrong in ("", web[:-1], web + "x", web.upper(), web.removeprefix("lorag-"), f" {web}", "\ud800", "é", "\0"):
        assert ring.check(wrong) is None
    ring.remove("web")
    assert ring.check(web) is None and ring.check(ops) is not None


def test_only_the_hash_is_kept_for_the_owner_alone(ring: KeyRing) -> None:
    key = ring.add("web", [Scope.ASK])
    assert len(key) == len("lorag-") + 43  # 32 bytes in base64
    kept = json.loads(ring.path.read_text())["keys"][0]
    assert kept["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert key not in ring.path.read_text() and key.removeprefix("lorag-") not in ring.path.read_text()
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600
    ring.add("more", [Scope.ASK])
    assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600
    assert [path.name for path in ring.path.parent.iterdir() if path.name.startswith(".aside")] == []


def test_every_hash_is_compared_whichever_fits(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [ring.add(f"k{number}", [Scope.ASK]) for number in range(4)]
    compared: list[str] = []

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(keys_module.hmac, "compare_digest", compare)
    for key in (made[0], made[3], "lorag-nothing"):
        compared.clear()
        ring.check(key)
        assert len(compared) == 4


@pytest.mark.parametrize(
    ("name", "scopes", "tenant", "complaint"),
    [
        ("", [Scope.ASK], "", "key name"),
        ("../x", [Scope.ASK], "", "key name"),
        ("a b", [Scope.ASK], "", "key name"),
        ("a\n", [Scope.ASK], "", "key name"),
        ("x" * 65, [Scope.ASK], "", "key name"),
        ("web", [], "", "at least one --scope"),
        ("web", [Scope.ASK], "../acme", "tenant"),
        ("web", [Scope.ASK], "Acme", "tenant"),
        ("web", [Scope.ASK], "_project", "tenant"),
        ("web", [Scope.ASK], "a/b", "tenant"),
        ("web", [Scope.ASK], "acme\n", "tenant"),
        ("taken", [Scope.ASK], "", "already"),
    ],
)
def test_bad_keys_are_refused_and_change_nothing(
    ring: KeyRing, name: str, scopes: list[Scope], tenant: str, complaint: str
) -> None:
    ring.add("taken", [Scope.ASK])
    before = ring.path.read_bytes()
    with pytest.raises(InputError, match=complaint):
        ring.add(name, scopes, tenant)
    assert ring.path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"format": 2, "keys": []}',
        '{"format": 1}',
        '{"format": 1, "keys": [{"name": "a"}]}',
        '{"format": 1, "keys": [{"name": "a", "sha256": "x", "scopes": ["root"], "tenant": "", "created": ""}]}',
        '{"format": 1, "keys": [{"name": "a", "sha256": "x", "scopes": ["ask"], "tenant": "../b", "created": ""}]}',
    ],
)
def test_a_damaged_file_is_named_and_opens_nothing(ring: KeyRing, content: str) -> None:
    ring.path.parent.mkdir()
    ring.path.write_text(content)
    assert ring.check("lorag-x") is None
    with pytest.raises(ConfigError, match=r"keys\.json: not a readable key file"):
        KeyRing.load(ring.path.parent.parent)


def test_two_processes_add_at_once_and_both_keys_stay(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from lorag.services.api.keys import KeyRing, Scope, FILE\n"
        "ring = KeyRing(pathlib.Path(sys.argv[1]) / FILE)\n"
        "for n in range(8): ring.add(f'{sys.argv[2]}{n}', [Scope.ASK])"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "ab"]
    assert [process.wait() for process in processes] == [0, 0]
    assert sorted(entry.name for entry in KeyRing(tmp_path / FILE).entries()) == [f"{a}{n}" for a in "ab" for n in range(8)]


def test_the_commands(tmp_path: Path, lorag: Any) -> None:
    project = make_project(tmp_path / "project")
    assert lorag("keys", "list", "--project", project).out.startswith("No keys")
    added = lorag("keys", "add", "web", "--scope", "ask", "--scope", "ingest", "--tenant", "acme", "--project", project)
    key = added.out.strip()
    assert "cannot be shown again" in added.err and key not in added.err
    ring = KeyRing.load(project)
    assert ring is not None and ring.check(key) == Caller("web", frozenset({"ask", "ingest"}), "acme")
    made = lorag("keys", "add", "ops", "--scope", "admin", "--project", project, "-o", "json").json()
    assert ring.check(made.pop("key")) is not None and made == {"name": "ops", "scopes": ["admin"], "tenant": ""}
    listed = lorag("keys", "list", "--project", project, "-o", "json")
    assert [(each["name"], each["scopes"], each["tenant"]) for each in listed.json()["keys"]] == [
        ("web", ["ask", "ingest"], "acme"),
        ("ops", ["admin"], ""),
    ]
    assert key not in listed.out and hashlib.sha256(key.encode()).hexdigest() not in listed.out
    assert "web" in lorag("keys", "list", "--project", project).out
    assert lorag("keys", "remove", "web", "--project", project).code == 0
    assert ring.check(key) is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("add", "web", "--scope", "ask", "--tenant", "No Body"), "error: tenant 'No Body'"),
        (("add", "a/b", "--scope", "ask"), "error: key name 'a/b'"),
        (("remove", "nobody"), "error: no key named 'nobody'; there are: none"),
    ],
)
def test_the_commands_refuse_in_one_line(tmp_path: Path, lorag: Any, arguments: tuple[str, ...], complaint: str) -> None:
    done = lorag("keys", *arguments, "--project", make_project(tmp_path / "project"))
    assert done.code == 2 and done.error_line.startswith(complaint)


def test_a_folder_that_is_no_project_gets_no_keys(tmp_path: Path, lorag: Any) -> None:
    done = lorag("keys", "add", "web", "--scope", "ask", "--project", tmp_path)
    assert done.code == 2 and "lorag.yaml" in done.error_line
    assert list(tmp_path.glob(".lorag")) == []
