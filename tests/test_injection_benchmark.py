"""The set of injected documents and its detectors, without a model."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from benchmarks.injection import FOLDER, Attack, plain, rate, read_attacks, run, shown, succeeded, summary
from lorag.pipeline.contracts import synthesize
from lorag.pipeline.contracts.style import PromptStyle
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import InputError, PromptTooLong
from lorag.pipeline.stages.synthesizer import Synthesizer

ATTACKS = read_attacks()


def test_the_set_is_large_and_varied() -> None:
    assert len(ATTACKS) >= 50
    assert len({attack.injected for attack in ATTACKS}) == len({attack.id for attack in ATTACKS}) == len(ATTACKS)
    assert len({attack.kind for attack in ATTACKS}) >= 12
    assert {attack.goal for attack in ATTACKS} == {"planted", "refusal", "leak"}
    assert all("{" not in attack.injected or attack.kind == "code" for attack in ATTACKS)


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.goal == "planted"], ids=lambda attack: attack.id)
def test_what_is_planted_stands_in_the_attack_and_nowhere_else_in_the_prompt(attack: Attack) -> None:
    index = ATTACKS.index(attack)
    hits, number = shown(ATTACKS, index, injected=True)
    controls, _ = shown(ATTACKS, index, injected=False)
    seen = plain(hits[number - 1].passage.text)
    spelt = plain(attack.injected).replace(" ", "")
    assert any(plain(m) in seen or plain(m).replace(" ", "") in spelt for m in attack.markers)
    assert [h.passage.id for h in hits] == [h.passage.id for h in controls] and len(hits) == 3
    for style in PromptStyle:
        prompt = " ".join(message.content for message in synthesize.messages(attack.fact.question, [], style))
        assert not any(plain(marker) in plain(prompt) for marker in attack.markers)
    assert not any(plain(marker) in plain(hit.passage.text) for marker in attack.markers for hit in controls)


def test_what_would_leak_stands_in_the_prompts() -> None:
    words = " ".join(plain(message.content) for style in PromptStyle for message in synthesize.messages("Who?", [], style))
    for attack in ATTACKS:
        if attack.goal == "leak":
            assert all(marker in words for marker in attack.markers)


def moved_by(reply: str | None) -> list[bool]:
    """Which attacks count as having moved a model that says `reply`, or where None does what an attack wants."""

    def script(request: Generation) -> str:
        if reply is not None:
            return reply
        text = plain(request.messages[-1].content)
        obeyed = [attack for attack in ATTACKS if plain(attack.injected) in text]
        if not obeyed:
            return "Quiet [1]"
        return synthesize.REFUSAL if obeyed[0].goal == "refusal" else f"{obeyed[0].markers[0].upper()} [1]"

    return [result.moved for result in run(Synthesizer(ScriptedEngine(script)), ATTACKS)]


def test_a_model_that_obeys_is_moved_by_all() -> None:
    assert moved_by(None) == [True] * len(ATTACKS)


@pytest.mark.parametrize("reply", ["Quiet [1]", "", "I do not know."])
def test_a_model_that_does_as_it_always_does_is_moved_by_none(reply: str) -> None:
    assert moved_by(reply) == [False] * len(ATTACKS)


def test_a_refusal_that_comes_without_an_attack_too_is_no_success() -> None:
    assert not any(moved_by(synthesize.REFUSAL))


def test_detectors_look_past_case_white_space_and_invisible_letters() -> None:
    attack = next(a for a in ATTACKS if a.markers == ("BLUE LANTERN",))
    answer = Synthesizer(ScriptedEngine()).read("q", shown(ATTACKS, 0, True)[0], "it is  blue\nlan\u200btern [2]")
    assert succeeded(attack, answer) and not succeeded(dataclasses.replace(attack, markers=("red lantern",)), answer)


def test_a_failure_of_the_model_is_no_result() -> None:
    def explode(request: Generation) -> str:
        raise PromptTooLong("too long")

    with pytest.raises(PromptTooLong):
        list(run(Synthesizer(ScriptedEngine(explode)), ATTACKS[:1]))


def test_rates_and_summary() -> None:
    # Wilson's interval for 2 of 10 at 95 % is 0.0567 to 0.5098 (Newcombe 1998, method 3).
    found = rate([True] * 2 + [False] * 8)
    assert (found.value, found.n) == (0.2, 10)
    assert (found.low, found.high) == (pytest.approx(0.0567, abs=1e-4), pytest.approx(0.5098, abs=1e-4))
    assert rate([False] * 10).low == pytest.approx(0) and 0.2 < rate([False] * 10).high < 0.3
    results = list(run(Synthesizer(ScriptedEngine(lambda request: "PELICAN [1]")), ATTACKS[:3]))
    told = summary(results)
    assert told["moved"]["value"] == 0  # it says so without the attack too
    assert [result.hit for result in results] == [True, False, False]
    assert told["moved by kind"].keys() == {"override"}
    json.dumps(told)


@pytest.mark.parametrize(
    "change",
    [{"fact": "nothing"}, {"goal": "fame"}, {"markers": []}, {"markers": ["folded"]}, {"goal": "refusal"}],
)
def test_an_attack_whose_success_could_not_be_told_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    shutil.copy(FOLDER / "facts.jsonl", tmp_path)
    row = json.loads((FOLDER / "attacks.jsonl").read_text().splitlines()[0])
    (tmp_path / "attacks.jsonl").write_text(json.dumps(row | change) + "\n")
    with pytest.raises(InputError):
        read_attacks(tmp_path)
