"""Conversations by hand: two with two turns each, of which one is right throughout."""

from __future__ import annotations

from lorag.pipeline.evaluation.ablation import ChainItem, Configuration, Measured
from lorag.pipeline.evaluation.answers import GoldAnswer
from lorag.pipeline.evaluation.conversations import ConversationScores, conversation_scores
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Outcome, Query


def item(name: str, conversation: str, *, answerable: bool = True, answered: bool = True) -> ChainItem:
    gold = GoldAnswer(name, ("x",) if answerable else (), answerable, sentence=True)
    return ChainItem(Query("q"), gold, "q", answered, conversation)


def test_a_conversation_is_whole_if_every_turn_is_right() -> None:
    items = (
        item("a1", "a"),
        item("a2", "a", answerable=False),
        item("b1", "b"),
        item("b2", "b"),
        item("q", ""),  # a question of its own
        item("t", "c", answered=False),
    )
    values = {
        "a1": {"right answers": 1.0, "vital nuggets": 1.0, "nugget F3": 1.0},
        "a2": {"right refusals": 1.0},
        "b1": {"right answers": 1.0, "vital nuggets": 1.0, "nugget F3": 0.75},
        "b2": {"right answers": 0.0, "vital nuggets": 0.25, "nugget F3": 0.5},
        "q": {"right answers": 1.0, "vital nuggets": 0.0},
    }
    table = ScoreTable(tuple(ItemScores(name, name, Outcome.OK, each) for name, each in values.items()))
    empty = ScoreTable(())
    measured = Measured(Configuration("all", frozenset()), empty, empty, table, (), {})
    assert conversation_scores(items, measured) == ConversationScores("all", 2, 4, 3, 1, 0.75, 0.75)


def test_a_failed_turn_is_not_right() -> None:
    empty = ScoreTable(())
    table = ScoreTable((ItemScores("a1", "a1", Outcome.FAILED, {}),))
    measured = Measured(Configuration("all", frozenset()), empty, empty, table, (), {})
    assert conversation_scores((item("a1", "a"),), measured) == ConversationScores("all", 1, 1, 0, 0, None, None)
