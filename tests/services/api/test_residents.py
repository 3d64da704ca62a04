"""Which adapters are in memory, and that none leaves while a request holds it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.errors import NoEffect
from lorag.pipeline.records import Role
from lorag.services.api.residents import Residents


def version(number: int) -> Version:
    return Version(Role.REWRITER, f"{number:04d}-00000000", Path("x"), ())


class Base:
    """Remembers what was put on it."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.log: list[str] = []

    def load(self, name: str, version: Version) -> None:
        if name == "bad":
            raise NoEffect("it changes nothing")
        self.loaded.append(name)
        self.log.append(f"+{name}")

    def unload(self, name: str) -> None:
        self.loaded.remove(name)
        self.log.append(f"-{name}")


def test_held_twice_is_loaded_once_and_stays_until_both_let_go() -> None:
    base = Base()
    residents = Residents(base.load, base.unload, keep=0)
    residents.hold("a", version(1))
    residents.hold("a", version(1))
    residents.release("a")
    assert base.loaded == ["a"]
    residents.release("a")
    assert base.log == ["+a", "-a"]
    assert residents.names == ()


def test_the_last_that_were_used_stay_for_the_next_comparison() -> None:
    base = Base()
    residents = Residents(base.load, base.unload, keep=2, names=["a"])
    for name in ("b", "a", "c", "a", "d"):
        residents.hold(name, version(1))
        residents.release(name)
    assert base.log == ["+b", "+c", "-b", "+d", "-c"]
    assert set(residents.names) == {"a", "d"}


def test_one_that_is_refused_is_not_resident_and_may_be_tried_again() -> None:
    base = Base()
    residents = Residents(base.load, base.unload)
    for _ in range(2):
        with pytest.raises(NoEffect):
            residents.hold("bad", version(1))
    assert residents.names == ()


def test_many_threads_load_a_version_once_and_none_sees_it_gone() -> None:
    base = Base()
    residents = Residents(base.load, base.unload, keep=1)
    missing: list[str] = []

    def use(seed: int) -> None:
        for step in range(200):
            name = f"v{(seed + step) % 4}"
            residents.hold(name, version(1))
            if base.loaded.count(name) != 1:
                missing.append(name)
            residents.release(name)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missing == []
    assert sorted(base.loaded) == sorted(residents.names)
    assert len(base.loaded) <= 1
