"""The example domain holds what its card says: counts, labels that stand in their passages, and splits that share nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.records import Role, Speaker, Turn
from lorag.pipeline.retrieval.account import FileStatus
from lorag.pipeline.retrieval.chunking import chunk
from lorag.pipeline.retrieval.loading import load_folder
from lorag.training.data.rows import EmbedRow, PassageRow, QuestionRow, RewriteRow, require_passages
from lorag.training.dataset import SPLITS, DataFolder
from tests.examples.kelder import (
    DOCUMENTS,
    FOLDER,
    INTENTS,
    PARTS,
    SEALED,
    all_passages,
    document_of,
    groups,
    named_passages,
    parts,
    passages,
    plain,
    sealed_passages,
    splits,
)

JUDGE_TASKS = ("intent", "relevance", "answerability", "support")
SEALED_DOCUMENTS = FOLDER / SEALED / "documents"


def test_documents_are_many_and_of_every_kind_that_is_read() -> None:
    loaded = load_folder(DOCUMENTS)
    assert {file.status for file in loaded.accounts} == {FileStatus.READ}
    assert len(loaded.documents) >= 150
    assert Counter(document.metadata["format"] for document in loaded.documents).keys() == {"md", "html", "pdf"}
    lengths = [len(document.text.split()) for document in loaded.documents]
    assert min(lengths) >= 150
    assert max(lengths) <= 600


def test_sealed_documents_are_all_read_and_of_the_length_of_the_others() -> None:
    loaded = load_folder(SEALED_DOCUMENTS)
    assert {file.status for file in loaded.accounts} == {FileStatus.READ}
    assert all(150 <= len(document.text.split()) <= 600 for document in loaded.documents)


@pytest.mark.parametrize(("folder", "known"), [(DOCUMENTS, passages), (SEALED_DOCUMENTS, sealed_passages)])
def test_passages_are_what_the_chunker_makes_of_the_documents_now(
    folder: Path, known: Callable[[], dict[str, PassageRow]]
) -> None:
    made = [passage for document in load_folder(folder).documents for passage in chunk(document)]
    rows = [PassageRow(passage.id, PassageText.of(passage).title, passage.text) for passage in made]
    assert list(known().values()) == rows


def test_there_are_as_many_labels_as_were_asked_for() -> None:
    questions = [row for split in splits().values() for row in split.questions]
    answerable = [row for row in questions if row.answerable]
    conversations = {row.conversation for split in splits().values() for row in split.rewrites}
    judged = Counter(row.task for split in splits().values() for row in split.judgments)
    assert len(answerable) >= 900
    assert len(questions) - len(answerable) >= 0.15 * len(answerable)
    assert sum(len(row.passage_ids) >= 2 for row in answerable) >= 100
    assert len(conversations) >= 250
    assert judged.keys() == set(JUDGE_TASKS)
    assert min(judged.values()) >= 300


@pytest.mark.parametrize("part", ["test", SEALED])
def test_a_part_that_decides_is_large_enough_to_measure_with(part: str) -> None:
    test = parts()[part]
    judged = Counter(row.task for row in test.judgments)
    assert len(test.questions) >= 200
    assert len({row.conversation for row in test.rewrites}) >= 60
    assert min(judged[task] for task in JUDGE_TASKS) >= 80


def test_each_sealed_group_has_its_documents_and_labels() -> None:
    sealed = parts()[SEALED]
    names = [name for name, (where, _) in groups().items() if where == SEALED]
    assert len(names) >= 20
    for name in names:
        questions = [row for row in sealed.questions if row.group == name]
        judged = Counter(row.task for row in sealed.judgments if row.group == name)
        assert len(groups()[name][1]) >= 3, name
        assert len(questions) >= 10, name
        assert sum(not row.answerable for row in questions) == 2, name
        assert any(len(row.passage_ids) >= 2 for row in questions), name
        assert len({row.conversation for row in sealed.rewrites if row.group == name}) >= 3, name
        assert min(judged[task] for task in JUDGE_TASKS) >= 4, name


@pytest.mark.parametrize("kinds", [SPLITS, (SEALED,)])
def test_judge_labels_are_balanced(kinds: tuple[str, ...]) -> None:
    for task in JUDGE_TASKS:
        labels = Counter(row.label for name in kinds for row in parts()[name].judgments if row.task == task)
        assert min(labels.values()) >= 0.11 * labels.total(), (task, labels)


def test_ids_are_unique_over_all_files() -> None:
    kinds = [rows for split in parts().values() for rows in (split.rewrites, split.questions, split.judgments)]
    ids = Counter(row.id for rows in kinds for row in rows)
    assert [name for name, count in ids.items() if count > 1] == []
    queries = Counter(row.query_id for split in parts().values() for row in split.embed_rows)
    assert max(queries.values()) == 1


@pytest.mark.parametrize("split", PARTS)
def test_every_passage_named_is_there(split: str) -> None:
    rows: list[EmbedRow | QuestionRow | RewriteRow] = [
        *parts()[split].rewrites,
        *parts()[split].questions,
        *parts()[split].embed_rows,
    ]
    require_passages(rows, (sealed_passages() if split == SEALED else passages()).values(), split)


def test_answerable_questions_and_only_they_have_passages_and_quotes() -> None:
    for split in parts().values():
        for row in split.questions:
            assert bool(row.passage_ids) == bool(row.quotes) == row.answerable, row.id
            assert bool(row.near_ids) != row.answerable, row.id
        for turn in split.rewrites:
            assert bool(turn.passage_ids) == bool(turn.quotes) == turn.answerable, turn.id


def test_quotes_stand_verbatim_in_their_passages_and_each_passage_holds_one() -> None:
    for split in parts().values():
        labelled: list[QuestionRow | RewriteRow] = [*split.questions, *split.rewrites]
        for row in labelled:
            gold = [plain(all_passages()[passage_id].text) for passage_id in row.passage_ids]
            for quote in row.quotes:
                assert any(plain(quote) in text for text in gold), (row.id, quote)
            for passage_id, text in zip(row.passage_ids, gold, strict=True):
                assert any(plain(quote) in text for quote in row.quotes), (row.id, passage_id)


def test_answers_take_their_words_from_the_quotes() -> None:
    for name, split in parts().items():
        shares = []
        for row in split.questions:
            if row.answerable:
                told = _words(" ".join(row.quotes))
                shares.append(max(len(_words(answer) & told) / max(1, len(_words(answer))) for answer in row.answers))
        assert sum(share == 1 for share in shares) >= 0.95 * len(shares), name


def test_questions_are_not_copied_from_their_quotes() -> None:
    for name, split in parts().items():
        assert _overlap(split.questions) < 0.25, name


def test_judged_passages_are_those_of_the_corpus() -> None:
    for split in parts().values():
        for row in split.judgments:
            shown = [all_passages()[passage_id].shown() for passage_id in row.passage_ids]
            assert list(row.inputs.passages) == shown, row.id


def test_a_third_of_the_turns_stand_alone_and_are_left_unchanged() -> None:
    for name, split in parts().items():
        standalone = [turn for turn in split.rewrites if turn.question == turn.rewrite]
        assert len(standalone) >= len(split.rewrites) / 3, name
        opening = [turn for turn in split.rewrites if not turn.history]
        assert [turn.id for turn in opening if turn.question != turn.rewrite] == []


def test_histories_are_the_turns_before() -> None:
    for split in parts().values():
        for before, turn in pairwise(split.rewrites):
            if turn.conversation == before.conversation:
                said = (Turn(Speaker.USER, before.question), Turn(Speaker.ASSISTANT, before.answers[0]))
                assert turn.history == (*before.history, *said), turn.id
            else:
                assert turn.history == (), turn.id
        lengths = Counter(turn.conversation for turn in split.rewrites)
        assert set(lengths.values()) <= {2, 3, 4, 5}


def test_negatives_hold_neither_quote_nor_answer_and_come_from_the_same_group() -> None:
    for name, split in parts().items():
        known = {row.id: (row.quotes, row.answers) for row in split.questions}
        known |= {turn.id: (turn.quotes, ()) for turn in split.rewrites}
        for row in split.embed_rows:
            assert name == SEALED or 1 <= len(row.negative_ids) <= 4, row.query_id
            quotes, answers = known[row.query_id]
            for passage_id in row.negative_ids:
                text = plain(all_passages()[passage_id].text).casefold()
                assert not any(plain(words).casefold() in text for words in (*quotes, *answers)), (row.query_id, passage_id)
                assert document_of(passage_id) in groups()[row.group][1]
        assert {row.query_id for row in split.embed_rows} >= {row.id for row in split.questions if row.answerable}, name


def test_every_document_is_in_one_group() -> None:
    held = Counter(document for _, documents in groups().values() for document in documents)
    assert set(held.values()) == {1}
    assert held.keys() == {document.id for folder in (DOCUMENTS, SEALED_DOCUMENTS) for document in load_folder(folder).documents}


@pytest.mark.parametrize("split", PARTS)
def test_no_row_shows_a_document_of_another_split(split: str) -> None:
    documents = frozenset(d for where, members in groups().values() if where == split for d in members)
    for row in parts()[split].rows():
        assert groups()[row.group][0] == split
        assert {document_of(passage_id) for passage_id in named_passages(row)} <= documents


def test_the_sealed_part_repeats_no_passage_of_the_corpus() -> None:
    assert not passages().keys() & sealed_passages().keys()
    assert not {plain(row.text) for row in passages().values()} & {plain(row.text) for row in sealed_passages().values()}


def test_no_conversation_is_in_two_splits() -> None:
    seen = Counter(name for split in parts().values() for name in {turn.conversation for turn in split.rewrites})
    assert max(seen.values()) == 1


@pytest.mark.parametrize("role", [Role.REWRITER, Role.SYNTHESIZER, Role.JUDGE, Role.EMBEDDER])
def test_the_trainer_finds_no_leak(role: Role) -> None:
    DataFolder(FOLDER, INTENTS).check_leaks(role)


def test_the_card_counts_what_is_there() -> None:
    card = (FOLDER / "CARD.md").read_text(encoding="utf-8")
    for name, split in parts().items():
        answerable = [row for row in split.questions if row.answerable]
        judged = Counter(row.task for row in split.judgments)
        counted = [
            sum(where == name for where, _ in groups().values()),
            sum(len(documents) for where, documents in groups().values() if where == name),
            len(answerable),
            sum(len(row.passage_ids) >= 2 for row in answerable),
            len(split.questions) - len(answerable),
            len({turn.conversation for turn in split.rewrites}),
            len(split.rewrites),
            sum(turn.question == turn.rewrite for turn in split.rewrites),
            len(split.embed_rows),
            *(judged[task] for task in JUDGE_TASKS),
            round(100 * _overlap(split.questions)),
        ]
        row = re.search(rf"^\| {name} \|(.+)\|$", card, flags=re.MULTILINE)
        assert row is not None, f"CARD.md has no row of split {name}"
        assert [int(cell.strip(" %")) for cell in row[1].split("|")] == counted, name
    assert f"{len(passages())} passages" in card
    assert f"{len(sealed_passages())} passages" in card


_LITTLE_WORDS = """
    a an the of to in on at for and or is are was were be been it its this that these those what which who whom whose when
    where why how do does did i my me we our us you your he she they them his her their with by from as if not no can may must
    should would could have has had will there so than then now per any much many long
"""
_STOP_WORDS = frozenset(_LITTLE_WORDS.split())


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.lower())) - _STOP_WORDS


def _overlap(rows: tuple[QuestionRow, ...]) -> float:
    """Mean share of a question's content words that also stand in its quotes; 1 where questions are copied."""
    shares = [
        len(_words(row.question) & _words(" ".join(row.quotes))) / max(1, len(_words(row.question)))
        for row in rows
        if row.answerable
    ]
    return sum(shares) / len(shares)
