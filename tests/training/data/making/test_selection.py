"""Near-duplicates, quotas and the funnel."""

from __future__ import annotations

from collections import Counter

import numpy as np

from lorag.pipeline.contracts.question import Manner
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.training.data.making.funnel import funnel_of
from lorag.training.data.making.records import Filter, Rejected
from lorag.training.data.making.selection import within_quotas, without_duplicates
from lorag.training.data.making.settings import MakingSettings
from tests.training.data.making.made import accepted, candidate, passage, span

EMBED = HashingEmbedder().embed_queries
NO_SHARES = MakingSettings(easy=1.0, what=1.0, terse=1.0)


def test_near_duplicates_fall_over_the_whole_corpus_and_the_better_stays() -> None:
    one, other = passage("a.md#1", "It weighs 5 kg or 7 kg."), passage("b.md#1", "It weighs 9 kg.")
    rows = [
        accepted(one, "5 kg", "How heavy is the small anchor?", reader_f1=0.5),
        accepted(other, "9 kg", "how heavy is the small anchor", reader_f1=1.0),
        accepted(one, "7 kg", "Who wrote the log?", reader_f1=0.5),
    ]
    found = without_duplicates(rows, EMBED, MakingSettings())
    assert {each.candidate.span.text for each in found.accepted} == {"9 kg", "7 kg"}
    assert [each.filter for each in found.rejected] == [Filter.DUPLICATE]
    assert found == without_duplicates(rows[::-1], EMBED, MakingSettings())


def test_of_two_questions_on_a_span_the_better_stays() -> None:
    one = passage("a.md#1", "It weighs 5 kg.")
    rows = [accepted(one, "5 kg", question, manner, reader_f1=f1) for question, manner, f1 in
            (("How heavy is it?", Manner.FULL, 0.6), ("anchor weight", Manner.TERSE, 0.9))]  # fmt: skip
    found = without_duplicates(rows, EMBED, MakingSettings())
    assert [each.candidate.question for each in found.accepted] == ["anchor weight"]
    assert found.rejected[0].filter is Filter.SPAN


def test_nothing_is_left_of_nothing() -> None:
    assert without_duplicates([], lambda texts: np.zeros((0, 4), dtype=np.float32), MakingSettings()).accepted == ()
    assert within_quotas([], MakingSettings()).accepted == ()


def test_a_passage_and_a_document_have_their_shares() -> None:
    text = " ".join(f"Tank {at} holds {at + 100} kg." for at in range(9))
    passages = [passage(f"a.md#{n}", text) for n in range(6)]
    rows = [accepted(p, f"{at + 100} kg", f"How much does tank {at} hold?") for p in passages for at in range(5)]
    found = within_quotas(rows, NO_SHARES)
    counts = Counter(each.candidate.span.passage_id for each in found.accepted)
    assert max(counts.values()) == 3
    assert sum(counts.values()) == 12
    assert len(found.rejected) == 18


def test_shares_of_easy_what_and_terse_questions() -> None:
    passages = [passage(f"{n}.md#1", "It weighs 5 kg.") for n in range(40)]
    rows = [accepted(p, "5 kg", f"What weighs so much at {p.id}?", word_rank=1) for p in passages[:30]]
    rows += [accepted(p, "5 kg", f"How heavy is {p.id}?", word_rank=4) for p in passages[30:]]
    found = within_quotas(rows, MakingSettings())
    assert sum(each.scores.word_rank == 1 for each in found.accepted) == 10  # as many as the ten others
    assert all("more than 50% are questions" in each.reason for each in found.rejected)
    terse = [accepted(p, "5 kg", "weight of it", Manner.TERSE, word_rank=4) for p in passages[:20]]
    found = within_quotas([*terse, *rows[30:]], MakingSettings())
    assert Counter(each.candidate.order.manner for each in found.accepted) == {Manner.FULL: 10, Manner.TERSE: 2}  # 2 of 12


def test_the_funnel_counts_each_filter_in_order() -> None:
    one = candidate(span(passage("a.md#1", "It weighs 5 kg."), "5 kg"), "How heavy?")
    dropped = [Rejected(one, Filter.FORM, ""), Rejected(one, Filter.QUOTA, ""), Rejected(one, Filter.FORM, "")]
    funnel = funnel_of(10, 5, dropped)
    assert [(step.filter, step.dropped, step.left) for step in funnel.steps[:2]] == [(Filter.WRITTEN, 0, 10), (Filter.FORM, 2, 8)]
    assert funnel.left == 7
