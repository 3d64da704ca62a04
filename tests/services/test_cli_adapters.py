"""`lorag adapters`: what is listed and shown, what may serve, and the index that goes with the embedder."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.records import Role
from lorag.pipeline.storage.strict_json import plain
from lorag.serving_lock import ingesting, serving
from tests.claims import claim, speak_for


def test_an_empty_registry(lorag, project) -> None:
    assert lorag("adapters", "list", "--project", project.folder, "-o", "json").json() == {"adapters": []}
    assert "No adapters in" in lorag("adapters", "list", "--project", project.folder).out
    for command in ("show", "promote", "rollback"):
        done = lorag("adapters", command, "judge", "--project", project.folder)
        assert done.code == 2
        assert "no judge adapter is" in done.error_line


def test_list_show_promote_rollback(lorag, project, publish_rewriter) -> None:
    def aliases() -> dict[str, list[str]]:
        listed = lorag("adapters", "list", "--project", project.folder, "-o", "json").json()["adapters"]
        return {entry["version"]: entry["aliases"] for entry in listed}

    first, second = publish_rewriter(3), publish_rewriter(4)
    assert aliases() == {first: [], second: ["candidate"]}
    command = ("--project", project.folder)
    done = lorag("adapters", "promote", "rewriter", first, *command)
    reason = "It is better: ROUGE-1 +0.400 (+0.100 to +0.700) against the bare base, on 30 items of made-up test split (human)."
    assert (done.code, done.out) == (0, f"rewriter {first} is production now.\n{reason}\n")
    refused = lorag("adapters", "promote", "rewriter", *command)
    assert refused.code == 2 and f"version {first} serves" in refused.error_line
    assert f"run `lorag eval adapter rewriter {second} --data FOLDER --project {project.folder}`" in refused.error_line
    speak_for(Registry(project.adapters), Role.REWRITER, second, low=-0.1)
    done = lorag("adapters", "promote", "rewriter", *command, "--not-worse", "0.2")
    assert done.out.splitlines() == [
        f"rewriter {second} is production now; before it was {first}.",
        f"It is not worse by 0.2 in ROUGE-1: ROUGE-1 +0.300 (-0.100 to +0.700) against version {first}, on 30 items of made-up "
        "test split (human).",
    ]
    assert aliases() == {first: ["previous"], second: ["production"]}
    done = lorag("adapters", "rollback", "rewriter", *command, "-o", "json")
    assert done.json() == {"role": "rewriter", "production": first, "previous": second, "index": None}
    shown = lorag("adapters", "show", "rewriter", *command, "-o", "json").json()
    assert (shown["version"], shown["aliases"], shown["role"]) == (first, ["production"], "rewriter")
    text = lorag("adapters", "show", "rewriter", "previous", *command).out
    assert f"rewriter {second} (previous)" in text
    assert "+0.300   -0.100 to +0.700 (97.5 %)   30" in text and f"Held-out, against version {first}" in text
    assert "ROUGE-1 +0.400 (+0.100 to +0.700), n 30, against base" in lorag("adapters", "list", *command).out


@pytest.mark.parametrize(("margin", "code"), [((), 2), (("--not-worse", "0.05"), 2), (("--not-worse", "0.11"), 0)])
def test_only_evidence_promotes(lorag, project, publish_rewriter, margin: tuple[str, ...], code: int) -> None:
    version = publish_rewriter()
    Registry(project.adapters).attach_evidence(Role.REWRITER, version, [claim(low=-0.1, high=0.2)])
    done = lorag("adapters", "promote", "rewriter", "--project", project.folder, *margin)
    assert done.code == code
    if code:
        assert "97.5 % interval -0.100 to +0.200 on 30 items" in done.error_line
        assert Registry(project.adapters).aliases(Role.REWRITER) == {"candidate": version}


@pytest.mark.parametrize("pin", ["none", "candidate"])
def test_where_the_settings_name_another_version_no_alias_changes(lorag, project, publish_rewriter, pin: str) -> None:
    """As the service refuses it: it would say that a version serves which does not."""
    version, registry = publish_rewriter(), Registry(project.adapters)
    project.set(f"adapters: {{rewriter: {pin}}}")
    for action in (("promote", "rewriter", version), ("rollback", "rewriter")):
        done = lorag("adapters", *action, "--project", project.folder)
        wanted = f"error: `adapters.rewriter: {pin}` in lorag.yaml decides what serves; set it to `production` first"
        assert (done.code, done.error_line) == (2, wanted)
    assert registry.aliases(Role.REWRITER) == {"candidate": version}


def test_a_running_service_is_said_to_take_a_change_up(lorag, project, publish_rewriter) -> None:
    here, words = ("--project", project.folder), "The running `lorag serve` takes it up within seconds"
    first, second = publish_rewriter(3), publish_rewriter(4)
    with serving(project.folder):
        assert words in lorag("adapters", "promote", "rewriter", first, *here).out
    speak_for(Registry(project.adapters), Role.REWRITER, second)
    with ingesting(project.folder):
        assert words not in lorag("adapters", "promote", "rewriter", second, *here).out
    assert words not in lorag("adapters", "rollback", "rewriter", *here).out


def test_a_damaged_version_hides_no_other(lorag, project, publish_rewriter) -> None:
    first, second = publish_rewriter(3), publish_rewriter(4)
    (project.adapters / "rewriter" / "versions" / first / "card.json").write_text("{}")
    damaged, whole = lorag("adapters", "list", "--project", project.folder, "-o", "json").json()["adapters"]
    assert (damaged["version"], whole["version"]) == (first, second)
    assert "card.json: format is None" in damaged["problem"]
    assert whole["evidence"] == plain(Registry(project.adapters).show(Role.REWRITER, second).evidence)
    assert "damaged: " in lorag("adapters", "list", "--project", project.folder).out


def test_the_index_goes_with_the_embedder(lorag, project, publish_embedder) -> None:
    """Promote, rebuild, promote, rebuild: a rollback brings back the adapter and the index that it filled."""
    here = ("--project", project.folder)

    def collection() -> str:
        return str(lorag("ingest", *here, "-o", "json").json()["collection"])

    def works() -> bool:
        return lorag("ask", "Who keeps the key?", *here).code == 0

    publish_embedder(5)
    assert lorag("adapters", "promote", "embedder", *here).out.count("\n") == 2  # no index yet, nothing to say of it
    assert collection() == "documents-1"
    speak_for(Registry(project.adapters), Role.EMBEDDER, publish_embedder(6))
    done = lorag("adapters", "promote", "embedder", *here)
    assert f"filled by another encoder: run `lorag ingest --rebuild --project {project.folder}`" in done.out
    assert not works()
    assert lorag("ingest", "--rebuild", *here).code == 0
    assert works()
    done = lorag("adapters", "rollback", "embedder", *here)
    assert "The index is back at collection documents-1" in done.out
    assert works()
    done = lorag("adapters", "rollback", "embedder", *here, "-o", "json").json()
    assert done["index"] == "The index is back at collection documents-2, which it filled."
    assert works()
    assert collection() == "documents-2"


def test_a_data_folder_without_a_sealed_part_changes_nothing(lorag, project, publish_rewriter, tmp_path: Path) -> None:
    version, here = publish_rewriter(), ("--project", project.folder)
    command = ("adapters", "promote", "rewriter", version, *here, "--data")
    refused = lorag(*command, tmp_path / "nowhere")
    assert refused.code == 2 and "nowhere: no such data folder; give the one that holds sealed/" in refused.error_line
    (tmp_path / "rows").mkdir()
    assert f"rewriter {version} is production now" in lorag(*command, tmp_path / "rows").out
