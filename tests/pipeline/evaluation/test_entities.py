"""Values of texts, by hand."""

from __future__ import annotations

import pytest

from lorag.pipeline.evaluation.entities import entity_recall, invents, kept_share, named_entities, shared_values, values_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What did Marie Curie discover in 1898?", {"marie", "curie", "1898"}),
        ("How is error E-42 of the RX200 cleared?", {"e-42", "rx200"}),
        ("NASA's budget? The rocket. Ariane is next", {"nasa"}),  # a capital that opens a sentence says nothing
        ("is Paris's mayor known", {"paris"}),
        ("nothing here", set()),
    ],
)
def test_entities_are_names_codes_and_numbers(text: str, found: set[str]) -> None:
    assert named_entities(text) == found


@pytest.mark.parametrize(
    ("question", "rewrite", "gold", "recall"),
    [
        ("When did she die?", "when did marie die", "When did Marie Curie die?", 1 / 2),
        ("When did Curie die?", "When did she die?", "When did Curie die?", None),  # the raw question has it already
        ("And its E-42 code?", "What is E-42 of the RX200?", "What is the E-42 code of the RX200?", 1.0),
    ],
)
def test_entity_recall(question: str, rewrite: str, gold: str, recall: float | None) -> None:
    assert entity_recall(question, rewrite, gold) == recall


def test_values_are_quantities_codes_and_names() -> None:
    found = values_of("When does Dunlin's winch STP-144 lift 2 t?")
    assert found.names == {"dunlin", "stp-144"} and [each.kind for each in found.quantities] == ["mass"] and len(found) == 3
    assert len(values_of("how long is it?")) == 0


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("STP-144 lifts 2,000 kg on Dunlin", 1.0),
        ("STP-144 lifts 2 kg on dunlin", 2 / 3),
        ("nothing of it", 0.0),
    ],
)
def test_the_share_that_is_kept(text: str, share: float) -> None:
    assert kept_share(values_of("When does Dunlin's winch STP-144 lift 2 t?"), text) == share


def test_nothing_to_keep_has_no_share() -> None:
    assert kept_share(values_of("how long is it?"), "9 days") is None


def test_shared_values_are_those_of_both() -> None:
    found = shared_values("Does Dunlin lift 2 t at noon?", "and 2 t, dunlin?")
    assert found.names == {"dunlin"} and len(found.quantities) == 1


@pytest.mark.parametrize(
    ("text", "sources", "found"),
    [
        ("What is the limit at noon?", ("shut at 12:00",), False),
        ("Which limit is of Dunlin?", ("dunlin is full",), False),
        ("Which limit has E-42?", ("E-43 is full", "42 of them"), True),
        ("Is it 148 seconds?", ("48 seconds",), True),
        ("Is it 5 m?", ("it is 5 kg",), True),
        ("Is it so?", (), False),
        ("Is it 5 m?", (), True),
    ],
)
def test_what_no_source_states_is_invented(text: str, sources: tuple[str, ...], found: bool) -> None:
    assert invents(text, sources) is found
