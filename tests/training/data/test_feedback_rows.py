"""Feedback → rows: what each kind of feedback teaches which role, what makes no row, and what must not be split."""

from __future__ import annotations

from typing import Any

import pytest

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.feedback.records import Feedback, Opinion, Rating, Reason, TraceHit
from lorag.pipeline.records import Speaker, Turn
from lorag.pipeline.storage.digests import text_digest
from lorag.training.data import feedback as rules
from lorag.training.data.feedback import Conversations, feedback_source
from lorag.training.data.formats.source import LeftOut, Source
from lorag.training.data.formats.splitting import Earlier, Shares, deal
from lorag.training.data.rows import EmbedRow, PassageRow, QuestionRow
from tests.pipeline.feedback.given import BELL, FERRY, KEYS, TEXTS, answer_id, feedback, trace

DEPUTY = "deputy.md#44444444"
CORPUS = {id_: PassageRow(id_, "Handbook", text) for id_, text in TEXTS.items()}
CORPUS[DEPUTY] = PassageRow(DEPUTY, "Handbook", "When the porter is away, the deputy keeps the key.")
FOLLOW_UP: dict[str, Any] = {
    "question": "And when he is away?",
    "rewrite": "Who keeps the key when the porter is away?",
    "history": ("User: Who keeps the key?", "Assistant: The porter."),
}
DOWN = Rating.DOWN


def made(*entries: Feedback, corpus: dict[str, PassageRow] = CORPUS) -> Source:
    return feedback_source(entries, corpus, Conversations.of(entries))


def one(opinion: Opinion, corpus: dict[str, PassageRow] = CORPUS, **fields: Any) -> Source:
    return made(feedback(1, opinion=opinion, **fields), corpus=corpus)


def test_a_better_question_teaches_the_rewriter() -> None:
    source = one(Opinion(DOWN, question="Who keeps the key\n at night?"), **FOLLOW_UP)
    (row,) = source.rewrites
    assert row.history == (Turn(Speaker.USER, "Who keeps the key?"), Turn(Speaker.ASSISTANT, "The porter."))
    assert (row.question, row.rewrite) == ("And when he is away?", "Who keeps the key at night?")
    assert (row.origin, row.conversation, row.group, row.answerable) == (DataOrigin.FEEDBACK, answer_id(1), answer_id(1), None)
    assert (source.questions, source.embeds, source.judgments, source.left_out) == ((), (), (), ())


def test_a_right_answer_teaches_synthesizer_and_embedder_with_the_passage_that_holds_it() -> None:
    source = one(Opinion(DOWN, answer="The deputy.", wrong_passages=(KEYS,)), **FOLLOW_UP)
    (question,) = source.questions
    assert question == QuestionRow(
        answer_id(1),
        "And when he is away?",
        ("The deputy.",),
        True,
        (Turn(Speaker.USER, "Who keeps the key?"), Turn(Speaker.ASSISTANT, "The porter.")),
        (DEPUTY,),  # which was not found: the most useful row for the embedder
        (KEYS,),
        standalone="Who keeps the key when the porter is away?",
        group=answer_id(1),
        origin=DataOrigin.FEEDBACK,
    )
    expected = EmbedRow(
        answer_id(1), "Who keeps the key when the porter is away?", (DEPUTY,), (KEYS,), answer_id(1), DataOrigin.FEEDBACK
    )
    assert source.embeds == (expected,)
    assert source.judgments == ()  # the passages that were shown did not hold it, but that is not what was said


def test_the_corrected_question_is_what_the_passages_are_searched_for() -> None:
    source = one(Opinion(DOWN, answer="The deputy.", question="Who has the key then?"), **FOLLOW_UP)
    assert source.embeds[0].query == source.questions[0].standalone == source.rewrites[0].rewrite == "Who has the key then?"
    assert source.rewrites[0].passage_ids == (DEPUTY,)
    assert source.rewrites[0].answerable is True


@pytest.mark.parametrize(
    ("opinion", "gold"),
    [
        (Opinion(DOWN, answer="At 07:40.", right_passages=(KEYS,)), (KEYS,)),  # the user's mark counts, not the words
        (Opinion(DOWN, answer="In room 4. [1]"), (KEYS,)),
        (Opinion(DOWN, answer="At 07:40. [2][9]"), (FERRY,)),
        (Opinion(DOWN, answer="In room 4."), (KEYS,)),
        (Opinion(DOWN, answer="Twice."), (BELL,)),  # nowhere among the found ones
        (Opinion(Rating.UP, question="Who has the key?"), (KEYS,)),  # the thumb says that the citation is right
    ],
)
def test_where_the_right_answer_stands(opinion: Opinion, gold: tuple[str, ...]) -> None:
    (row,) = one(opinion).embeds
    assert row.positive_ids == gold


@pytest.mark.parametrize(
    ("opinion", "reason"),
    [
        (Opinion(Rating.UP), rules.NO_WORDS),
        (Opinion(DOWN, (Reason.INCORRECT,), "no!"), rules.NO_WORDS),
        (Opinion(DOWN, answer="The harbour master."), rules.NO_GOLD),
        (Opinion(DOWN, answer="Yes."), rules.NO_GOLD),
        (Opinion(DOWN, answer="The key."), rules.NO_GOLD),  # says nothing that the question does not
        (Opinion(DOWN, wrong_passages=(FERRY,)), rules.NO_RIGHT_SOURCE),
        (Opinion(DOWN, answer="In room 4. [1]", wrong_passages=(KEYS,)), rules.NO_GOLD),
    ],
)
def test_what_makes_no_row_is_named_with_the_reason(opinion: Opinion, reason: str) -> None:
    source = one(opinion)
    assert source.left_out == (LeftOut(answer_id(1), reason),)
    assert (source.questions, source.embeds, source.rewrites, source.judgments) == ((), (), (), ())


def test_an_answer_that_stands_in_many_passages_does_not_tell_which() -> None:
    many = {f"d{n}.md#{n:08x}": PassageRow(f"d{n}.md#{n:08x}", "", "The bosun is here.") for n in range(4)}
    assert one(Opinion(DOWN, answer="The bosun."), CORPUS | many).left_out == (LeftOut(answer_id(1), rules.NO_GOLD),)
    few = dict(list(many.items())[:3])
    assert one(Opinion(DOWN, answer="The bosun."), CORPUS | few).embeds[0].positive_ids == tuple(few)


def test_a_wrong_source_is_a_hard_negative_unless_it_holds_the_answer() -> None:
    source = one(Opinion(Rating.UP, wrong_passages=(FERRY,)))
    assert (source.embeds[0].positive_ids, source.embeds[0].negative_ids) == ((KEYS,), (FERRY,))
    assert source.questions == ()
    both = {**CORPUS, "copy.md#5": PassageRow("copy.md#5", "", "The deputy has it.")}
    hits = tuple(TraceHit(id_, text_digest(both[id_].text), 0.5) for id_ in (DEPUTY, "copy.md#5"))
    opinion = Opinion(DOWN, answer="The deputy.", right_passages=(DEPUTY,), wrong_passages=("copy.md#5",))
    assert one(opinion, both, hits=hits).embeds[0].negative_ids == ()


def test_not_in_the_documents_is_an_unanswerable_question_and_a_judgment() -> None:
    source = one(Opinion(DOWN, not_in_documents=True))
    (question,) = source.questions
    assert (question.answerable, question.answers, question.passage_ids, question.near_ids) == (False, (), (), (KEYS, FERRY))
    (judged,) = source.judgments
    assert (judged.task, judged.label, judged.passage_ids) == ("answerability", "unanswerable", (KEYS, FERRY))
    assert [passage.text for passage in judged.inputs.passages] == [TEXTS[KEYS], TEXTS[FERRY]]
    assert source.embeds == ()


def test_a_right_answer_that_declines_is_an_unanswerable_question() -> None:
    source = one(Opinion(DOWN, answer="The documents do not say."))
    assert [(row.answerable, row.answers) for row in source.questions] == [(False, ())]
    assert one(Opinion(DOWN, answer="The documents do not say when, but it is in room 4. [1]")).questions[0].answerable


def test_an_answer_in_the_passages_that_were_shown_makes_them_answerable() -> None:
    (judged,) = one(Opinion(DOWN, answer="In room 4.")).judgments
    assert (judged.label, judged.inputs.question) == ("answerable", "Who keeps the key?")


@pytest.mark.parametrize("change", ["gone", "other text"])
def test_a_passage_that_has_changed_since_is_not_used(change: str) -> None:
    changed = {id_: row for id_, row in CORPUS.items() if id_ != KEYS}
    if change == "other text":
        changed[KEYS] = PassageRow(KEYS, "Handbook", "The porter kept the key in room 5.")
    marked = one(Opinion(DOWN, answer="In room 4.", right_passages=(KEYS,)), changed)
    assert marked.left_out == (LeftOut(answer_id(1), rules.CHANGED),)
    refused = one(Opinion(DOWN, not_in_documents=True), changed)
    assert refused.questions[0].near_ids == (FERRY,)
    assert refused.judgments == ()  # it was about other passages


def test_marks_and_forged_fields_do_not_reach_a_target() -> None:
    source = one(Opinion(DOWN, answer=" In room 4 [1], as before [2]. "))
    assert source.questions[0].answers == ("In room 4, as before.",)
    assert one(Opinion(DOWN, answer="[1]")).questions == ()


# --- conversations ---


def grouped(*entries: Feedback) -> list[int]:
    names = list(dict.fromkeys(Conversations.of(entries).group.values()))
    return [names.index(Conversations.of(entries).group[each.trace.id]) for each in entries]


def test_answers_of_one_conversation_are_one_group_however_it_is_known() -> None:
    first = feedback(1)
    by_id = feedback(2, question="a?", rewrite="a?", conversation=answer_id(1))
    by_history = feedback(3, question="b?", rewrite="b?", history=("User: Who keeps  the key?", "Assistant: the porter. [1]"))
    by_question = feedback(4, question="c?", rewrite="who keeps the key?")
    by_shared_past = feedback(5, question="d?", rewrite="d?", history=("User: x?", "Assistant: y."))
    its_twin = feedback(6, question="e?", rewrite="e?", history=("User: x?", "Assistant: y.", "User: z?", "Assistant: w."))
    stranger = feedback(7, question="Who?", rewrite="Who is on board?", history=("User: x?", "Assistant: other."))
    entries = (first, by_id, by_history, by_question, by_shared_past, its_twin, stranger)
    assert grouped(*entries) == [0, 0, 0, 0, 1, 1, 2]
    conversations = Conversations.of(entries)
    assert conversations.members[answer_id(1)] == (answer_id(1), answer_id(3), answer_id(4))
    assert {row.group for row in made(*[each for each in entries if each is not stranger]).embeds} <= {answer_id(1), answer_id(5)}


def test_what_was_dealt_before_stays_and_train_wins() -> None:
    sizes = dict.fromkeys(range(10), 10)
    for seed in range(5):
        split = deal(sizes, Shares(0.1, 0.2), seed, {3: "train", 4: "test", 5: "test", 6: "dev"})
        assert [split[group] for group in (3, 4, 5, 6)] == ["train", "test", "test", "dev"]
        assert sorted(split.values()) == ["dev", "test", "test"] + ["train"] * 7  # no more than the shares
    earlier = Earlier({"a": "train", "b": "test", "c": "dev"})
    assert earlier.settled({0: "ab", 1: "bc", 2: "b", 3: "x"}) == {0: "train", 1: "dev", 2: "test"}
    joined = earlier.joined({"a": "test", "b": "train", "d": "dev"})
    assert joined.splits == {"a": "train", "b": "train", "c": "dev", "d": "dev"}


def test_nothing_is_made_of_a_trace_without_passages() -> None:
    source = one(Opinion(DOWN, not_in_documents=True), hits=(), citations=())
    assert source.questions[0].near_ids == ()
    assert source.judgments == ()
    assert trace(1).hits  # the default has some
