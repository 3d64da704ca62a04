"""The registry: versions, aliases, promotion by evidence, and what it does when the disk is full or two publish at once."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.card import AdapterCard, LoraFacts
from lorag.pipeline.adapters.evidence import Against, DataOrigin, Evidence, EvidenceKind
from lorag.pipeline.adapters.inspection import inspect_folder
from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.errors import AdapterError, NoEffect
from lorag.pipeline.records import Role
from lorag.pipeline.storage import atomic
from tests.claims import claim, measurement, speak_for

Plain = Callable[[int], Path]
Card = Callable[[Path], AdapterCard]
REWRITER = Role.REWRITER


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "adapters")


@pytest.fixture
def publish(registry: Registry, plain_adapter: Plain, plain_card: Card) -> Callable[[int], Version]:
    def do(seed: int) -> Version:
        folder = plain_adapter(seed)
        return registry.publish(REWRITER, folder, plain_card(folder))

    return do


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"}


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(AdapterError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_empty_registry(registry: Registry) -> None:
    assert registry.list() == ()
    assert dict(registry.aliases(REWRITER)) == {}
    assert "no rewriter adapter is production" in refusal(lambda: registry.resolve(REWRITER, "production"))
    assert "no rewriter adapter is previous" in refusal(lambda: registry.rollback(REWRITER))
    assert not registry.folder.exists()


def test_publish_and_look(registry: Registry, plain_adapter: Plain, plain_card: Card) -> None:
    folder = plain_adapter(1)
    (folder / "recipe.yaml").write_text("rank: 2\n")
    card = plain_card(folder)
    (folder / "optimizer.pt").write_text("stays behind")
    version = registry.publish(REWRITER, folder, card)
    assert version.id == f"0001-{card.identity.weights_digest[:8]}"
    assert version.aliases == ("candidate",)
    assert registry.show(REWRITER, "candidate") == dataclasses.replace(card, version=version.id)
    assert inspect_folder(version.folder).weights_digest == card.identity.weights_digest
    names = {"README.md", "adapter_config.json", "adapter_model.safetensors", "canaries.json", "card.json", "recipe.yaml"}
    assert {p.name for p in version.folder.iterdir()} == names
    assert version.id in (version.folder / "README.md").read_text()
    settings = json.loads((version.folder / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] is None  # not the maker's folder, nor a name to look up
    assert registry.list() == (version,) == registry.list(REWRITER)
    assert registry.list(Role.JUDGE) == ()


def test_the_card_says_of_the_lora_what_its_files_say(registry: Registry, plain_adapter: Plain, plain_card: Card) -> None:
    folder = plain_adapter(1)
    card = plain_card(folder)
    loose = dataclasses.replace(card, lora=LoraFacts(8, 1.0, 0.5, ("all-linear",), 0, 0.02))
    version = registry.publish(REWRITER, folder, loose)
    assert registry.show(REWRITER, version.id).lora == LoraFacts(2, 4.0, 0.0, ("q_proj",), 40, 0.02)


def test_numbers_run_on(registry: Registry, publish: Callable[[int], Version], plain_adapter: Plain, plain_card: Card) -> None:
    assert [publish(n).id[:4] for n in (1, 2)] == ["0001", "0002"]
    again = plain_adapter(3)
    twins = [registry.publish(REWRITER, again, plain_card(again)).id for _ in range(2)]
    assert twins[0][5:] == twins[1][5:] and [t[:4] for t in twins] == ["0003", "0004"]
    (registry.folder / "rewriter" / "versions" / f"9999-{'a' * 8}").mkdir()
    assert registry.list()[-1].id[:4] == "9999"
    assert registry.publish(REWRITER, again, plain_card(again)).id[:5] == "10000"
    assert registry.list()[-1].id[:5] == "10000"


def test_promote_and_rollback(registry: Registry, publish: Callable[[int], Version]) -> None:
    first, second = publish(1), publish(2)
    promotion = registry.promote(REWRITER, first.id)
    assert promotion.version.aliases == ("production",)
    assert (promotion.claim, promotion.margin) == (claim(), None)
    assert registry.aliases(REWRITER) == {"candidate": second.id, "production": first.id}
    spoken = speak_for(registry, REWRITER, second.id)
    assert registry.promote(REWRITER, "candidate").claim == spoken
    assert registry.aliases(REWRITER) == {"production": second.id, "previous": first.id}
    assert registry.promote(REWRITER, second.id).claim is None  # already is: nothing moves
    assert registry.aliases(REWRITER) == {"production": second.id, "previous": first.id}
    assert registry.rollback(REWRITER).id == first.id
    assert registry.aliases(REWRITER) == {"production": first.id, "previous": second.id}
    assert registry.rollback(REWRITER).id == second.id


@pytest.mark.parametrize(
    ("interval", "not_worse", "passes"),
    [
        ((0.01, 0.2), None, True),
        ((0.0, 0.2), None, False),
        ((-0.01, 0.2), None, False),
        ((-0.01, 0.2), 0.02, True),
        ((-0.02, 0.2), 0.02, False),
        ((-0.03, 0.2), 0.02, False),
        ((-0.03, 0.2), 0.0, False),
        ((0.01, 0.2), 0.0, True),
    ],
)
def test_promotion_by_evidence(
    registry: Registry,
    publish: Callable[[int], Version],
    interval: tuple[float, float],
    not_worse: float | None,
    passes: bool,
) -> None:
    version = publish(1)
    registry.attach_evidence(REWRITER, version.id, [claim("ROUGE-1", *interval), claim("rewrite EM", 0.5, 0.6)])
    before = snapshot(registry.folder)
    if passes:
        promotion = registry.promote(REWRITER, version.id, not_worse=not_worse)
        assert promotion.version.aliases == ("production",) and promotion.margin == not_worse
        assert promotion.claim == claim("ROUGE-1", *interval)
    else:
        message = refusal(lambda: registry.promote(REWRITER, version.id, not_worse=not_worse))
        assert "ROUGE-1" in message and f"{interval[0]:+.3f} to {interval[1]:+.3f} on 30 items" in message
        assert snapshot(registry.folder) == before
        assert "above -0;" not in message


def test_what_only_makes_data_is_never_promoted(registry: Registry, plain_adapter: Plain, plain_card: Card) -> None:
    """No command could measure it, so none is named."""
    folder = plain_adapter(1)
    version = registry.publish(Role.QUESTIONER, folder, dataclasses.replace(plain_card(folder), role=Role.QUESTIONER))
    message = refusal(lambda: registry.promote(Role.QUESTIONER, version.id, not_worse=1.0))
    assert message == f"questioner {version.id} is not promoted: it only makes training data and serves nobody"


def test_promotion_without_evidence_and_with_a_senseless_margin(
    registry: Registry, publish: Callable[[int], Version], plain_adapter: Plain, plain_card: Card
) -> None:
    version = publish(1)
    for margin in (-0.1, float("nan"), float("inf")):
        assert "not_worse" in refusal(lambda margin=margin: registry.promote(REWRITER, version.id, not_worse=margin))  # type: ignore[misc]
    folder = plain_adapter(2)
    bare = registry.publish(REWRITER, folder, dataclasses.replace(plain_card(folder), evidence=()))
    assert "no held-out comparison" in refusal(lambda: registry.promote(REWRITER, bare.id))
    assert "No held-out comparison" in (bare.folder / "README.md").read_text()


@pytest.mark.parametrize(
    "other",
    [
        claim(low=0.2, kind=EvidenceKind.GENERAL),
        claim(low=0.2, kind=EvidenceKind.TRANSFER),
        claim(low=0.2, data="made rows", origin=DataOrigin.MADE),
    ],
)
def test_a_claim_of_another_kind_and_made_rows_promote_nothing(
    registry: Registry, plain_adapter: Plain, plain_card: Card, other: Evidence
) -> None:
    folder = plain_adapter(1)
    version = registry.publish(REWRITER, folder, dataclasses.replace(plain_card(folder), evidence=(other,)))
    words = "made rows only" if other.data.origin is DataOrigin.MADE else "no held-out comparison with the bare base"
    assert words in refusal(lambda: registry.promote(REWRITER, version.id))
    registry.attach_evidence(REWRITER, version.id, [claim(low=-0.1)])
    registry.attach_evidence(REWRITER, version.id, [other])
    assert "must lie above 0" in refusal(lambda: registry.promote(REWRITER, version.id))


def test_only_a_claim_against_what_serves_promotes(registry: Registry, publish: Callable[[int], Version]) -> None:
    first, second, third = publish(1), publish(2), publish(3)
    registry.promote(REWRITER, first.id)
    before = snapshot(registry.folder)
    refused = refusal(lambda: registry.promote(REWRITER, second.id))
    assert f"version {first.id} serves, and its card has no held-out comparison with that one" in refused
    assert refused.endswith(f"run `lorag eval adapter rewriter {second.id} --data FOLDER`")
    assert snapshot(registry.folder) == before
    stale = speak_for(registry, REWRITER, third.id)
    speak_for(registry, REWRITER, second.id, low=-0.01)
    assert f"from version {first.id}, 97.5 % interval -0.010 to" in refusal(lambda: registry.promote(REWRITER, second.id))
    assert registry.promote(REWRITER, second.id, not_worse=0.02).version.id == second.id
    assert stale.against == Against(first.id, registry.show(REWRITER, first.id).identity.weights_digest)
    assert f"version {second.id} serves" in refusal(lambda: registry.promote(REWRITER, third.id, not_worse=1.0))
    registry.rollback(REWRITER)
    assert registry.promote(REWRITER, third.id).claim == stale  # which serves again


def test_made_rows_are_named_where_they_are_all_there_is(registry: Registry, publish: Callable[[int], Version]) -> None:
    first, second = publish(1), publish(2)
    registry.promote(REWRITER, first.id)
    speak_for(registry, REWRITER, second.id, origin=DataOrigin.MADE, data="made")
    assert "on made rows only, which promote nothing" in refusal(lambda: registry.promote(REWRITER, second.id))
    speak_for(registry, REWRITER, second.id, origin=DataOrigin.FEEDBACK, data="thumbs")
    assert registry.promote(REWRITER, second.id).version.id == second.id


def test_the_newest_claim_decides_and_no_other_metric_does(registry: Registry, publish: Callable[[int], Version]) -> None:
    version = publish(1)
    registry.attach_evidence(REWRITER, version.id, [claim(low=-0.2, digest="ab"), claim("rewrite EM", 0.5, 0.6)])
    assert "ROUGE-1 differs by" in refusal(lambda: registry.promote(REWRITER, version.id))
    registry.attach_evidence(REWRITER, version.id, measurement(REWRITER, low=0.2, digest="cd"))
    assert registry.promote(REWRITER, version.id).claim == claim(low=0.2, digest="cd")


def test_fewer_than_eight_groups_decide_nothing(registry: Registry, publish: Callable[[int], Version]) -> None:
    version = publish(1)
    registry.attach_evidence(REWRITER, version.id, [claim(low=0.2, groups=7)])
    few = refusal(lambda: registry.promote(REWRITER, version.id, not_worse=1.0))
    assert "made-up test split (human) has 7 independent groups of items" in few and "at least 8 decide" in few
    registry.attach_evidence(REWRITER, version.id, [claim(low=0.2, groups=None)])  # as cards of format 1 have it
    unknown = refusal(lambda: registry.promote(REWRITER, version.id))
    assert "does not say of how many independent groups" in unknown
    assert unknown.endswith(f"run `lorag eval adapter rewriter {version.id} --data FOLDER`")
    registry.attach_evidence(REWRITER, version.id, [claim(low=0.2, groups=8)])
    assert registry.promote(REWRITER, version.id).claim == claim(low=0.2, groups=8)


def test_a_damaged_version_in_production_serves_nobody(registry: Registry, publish: Callable[[int], Version]) -> None:
    first, second = publish(1), publish(2)
    registry.promote(REWRITER, first.id)
    assert registry.serving(REWRITER) == registry.resolve(REWRITER, first.id)
    (first.folder / "card.json").write_text("{}")
    assert registry.serving(REWRITER) is None
    assert registry.promote(REWRITER, second.id).claim == claim()  # against the bare base


def test_what_serves_is_asked_for_when_the_aliases_change(
    registry: Registry, publish: Callable[[int], Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process promotes between the first look and the change."""
    first, second, third = (publish(n) for n in (1, 2, 3))
    registry.promote(REWRITER, first.id)
    speak_for(registry, REWRITER, second.id)
    speak_for(registry, REWRITER, third.id)
    admitted = Registry.admitted

    def late(self: Registry, role: Role, name: str, **terms: Any) -> Version:
        found = admitted(self, role, name, **terms)
        monkeypatch.setattr(Registry, "admitted", admitted)
        Registry(self.folder).promote(role, second.id)
        return found

    monkeypatch.setattr(Registry, "admitted", late)
    assert f"version {second.id} serves" in refusal(lambda: registry.promote(REWRITER, third.id))
    assert registry.aliases(REWRITER)["production"] == second.id


def test_a_claim_replaces_its_own_predecessor_alone(registry: Registry, publish: Callable[[int], Version]) -> None:
    version = publish(1)
    first, over_floor = registry.show(REWRITER, version.id).evidence
    others = [
        claim("rewrite EM"),
        claim(digest="ab" * 32),
        claim(against=Against("0001-aa11bb22", "aa11")),
        claim(kind=EvidenceKind.GENERAL),
    ]
    registry.attach_evidence(REWRITER, version.id, others)
    assert registry.show(REWRITER, version.id).evidence == (*others, first, over_floor)
    again = claim(low=0.3)
    registry.attach_evidence(REWRITER, version.id, [again])
    assert registry.show(REWRITER, version.id).evidence == (again, *others, over_floor)


def test_a_version_damaged_on_disk_is_not_promoted(registry: Registry, publish: Callable[[int], Version]) -> None:
    version = publish(1)
    weights = version.folder / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert "the card is of weights" in refusal(lambda: registry.promote(REWRITER, version.id))
    assert "production" not in registry.aliases(REWRITER)


@pytest.mark.parametrize("name", ["../x", "/etc", "", ".", "0001", "0001-XYZ", "0001-1a2b3c4d/..", "0001-1a2b3c4d\n", "versions"])
def test_names_are_never_paths(registry: Registry, publish: Callable[[int], Version], name: str) -> None:
    publish(1)
    for call in (registry.resolve, registry.show, registry.promote):
        assert "is neither an adapter version" in refusal(lambda call=call: call(REWRITER, name))  # type: ignore[misc]


def test_roles_are_never_paths(registry: Registry) -> None:
    escape: Any = "../../etc"
    assert "is no role" in refusal(lambda: registry.resolve(escape, "production"))


def test_unknown_version_lists_the_known(registry: Registry, publish: Callable[[int], Version]) -> None:
    version = publish(1)
    assert f"there are: {version.id}" in refusal(lambda: registry.resolve(REWRITER, "0007-00000000"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "not JSON"),
        ('{"candidate": null, "production": null}', "'previous' is missing"),
        ('{"candidate": null, "production": "../../x", "previous": null}', "production is '../../x'"),
        ('{"candidate": null, "production": "0009-00000000", "previous": null}', "no version 0009-00000000"),
    ],
)
def test_damaged_alias_file(registry: Registry, publish: Callable[[int], Version], text: str, word: str) -> None:
    publish(1)
    (registry.folder / "rewriter" / "aliases.json").write_text(text)
    assert word in refusal(lambda: registry.resolve(REWRITER, "production"))


def test_what_cannot_be_published(registry: Registry, plain_adapter: Plain, plain_card: Card, tmp_path: Path) -> None:
    folder = plain_adapter(1)
    card = plain_card(folder)
    assert "cannot be published as judge" in refusal(lambda: registry.publish(Role.JUDGE, folder, card))
    assert "no adapter folder" in refusal(lambda: registry.publish(REWRITER, tmp_path / "nothing", card))
    other = dataclasses.replace(card, identity=dataclasses.replace(card.identity, weights_digest="0" * 64))
    assert "the card is of weights 0000000000000000, here are" in refusal(lambda: registry.publish(REWRITER, folder, other))
    (folder / "canaries.json").rename(tmp_path / "canaries.json")
    assert "canaries.json: is missing" in refusal(lambda: registry.publish(REWRITER, folder, card))
    (folder / "canaries.json").symlink_to(tmp_path / "canaries.json")
    assert "canaries.json: is a link" in refusal(lambda: registry.publish(REWRITER, folder, card))
    (folder / "canaries.json").unlink()
    (folder / "canaries.json").write_text('{"replies": []}')
    assert "holds no canary" in refusal(lambda: registry.publish(REWRITER, folder, card))
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": 0}))
    with pytest.raises(NoEffect):
        registry.publish(REWRITER, folder, card)
    assert snapshot(registry.folder) == {}


def test_disk_full_at_any_write(
    registry: Registry, publish: Callable[[int], Version], plain_adapter: Plain, plain_card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write of a publication fails once, in turn: each time one line, and the registry as it was."""
    publish(1)
    before = snapshot(registry.folder)
    folder = plain_adapter(2)
    card = plain_card(folder)
    real = atomic._write
    failures = 0
    while True:
        left = failures

        def write(file: Any, data: bytes) -> None:
            nonlocal left
            if left == 0:
                real(file, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left -= 1
            real(file, data)

        monkeypatch.setattr(atomic, "_write", write)
        try:
            registry.publish(REWRITER, folder, card)
            break
        except AdapterError as error:
            assert "No space left on device; nothing was changed" in str(error) and "\n" not in str(error)
        assert snapshot(registry.folder) == before
        failures += 1
    assert failures == 6  # weights, canaries, settings, card, README, aliases
    assert len(registry.list()) == 2


def test_disk_full_while_promoting(
    registry: Registry, publish: Callable[[int], Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = publish(1)
    before = snapshot(registry.folder)

    def full(file: Any, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "_write", full)
    for call in (lambda: registry.promote(REWRITER, version.id), lambda: registry.attach_evidence(REWRITER, version.id, [])):
        assert "No space left on device" in refusal(call)
        assert snapshot(registry.folder) == before


def test_publishers_at_once_all_succeed(registry: Registry, plain_adapter: Plain, plain_card: Card) -> None:
    folders = [plain_adapter(n) for n in range(6)]
    cards = [plain_card(folder) for folder in folders]
    with ThreadPoolExecutor(6) as pool:
        versions = list(pool.map(lambda pair: registry.publish(REWRITER, *pair), zip(folders, cards, strict=True)))
    assert sorted(v.id[:4] for v in versions) == [f"{n:04d}" for n in range(1, 7)]
    assert {v.id[5:] for v in versions} == {c.identity.weights_digest[:8] for c in cards}
    assert [v.id for v in registry.list()] == sorted(v.id for v in versions)
    assert registry.aliases(REWRITER)["candidate"] in {v.id for v in versions}


def test_leftovers_of_the_dead_are_cleared_and_those_of_the_living_kept(
    registry: Registry, publish: Callable[[int], Version]
) -> None:
    publish(1)
    home = registry.folder / "rewriter"
    dead = home / "versions" / ".lorag-aside-dead"
    dead.mkdir()
    (dead / "half").write_text("x")
    (home / ".lorag-aside-dead").write_text("x")
    with atomic.aside_folder(home / "versions") as living:
        (living / "mine").write_text("x")
        publish(2)
        assert (living / "mine").exists() and not dead.exists() and not (home / ".lorag-aside-dead").exists()
    assert not living.exists()
    assert len(registry.list()) == 2
