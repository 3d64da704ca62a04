"""From a read set to a data folder: where the answers stand, what is split from what, what is left out and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.contracts.judge import JudgeInputs
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.records import Role, Speaker, Turn
from lorag.pipeline.retrieval.chunking import chunk
from lorag.pipeline.retrieval.ingest import Chunking
from lorag.pipeline.retrieval.loading import load_folder
from lorag.training.data.formats.documents import Corpus, lay_out
from lorag.training.data.formats.folder import ImportReport, Options, write_folder
from lorag.training.data.formats.gold import answerability_rows, place_question, stands_in
from lorag.training.data.formats.reading import read_files
from lorag.training.data.formats.source import LeftOut, Source, SourcePassage
from lorag.training.data.formats.splitting import Shares, deal, groups
from lorag.training.data.rows import EmbedRow, JudgeRow, QuestionRow, RewriteRow, read_judgments
from lorag.training.dataset import DataFolder

LONG = "The first keeper of the light was Ann Vale. " + "She wrote a log in ink each night. " * 20 + "It burned down in 1911."
PASSAGES = (
    SourcePassage("p1", "North Pier", LONG, "North Pier"),
    SourcePassage("p2", "North Pier", "Swans sleep there.\n\n# Not a heading of ours\n\nGeese do not.", "North Pier"),
    SourcePassage("p3", "", "A page without a title. " * 5, "x/ü y"),
    SourcePassage("p5", "", "# The hall of ropes\n\n" + "Ropes are kept dry. " * 8, "ropes"),
    SourcePassage("p4", "North  pier", "Another document of nearly the same name holds this sentence.", "North  pier"),
)
SIZES = Chunking(300, 60)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return lay_out(PASSAGES, tmp_path / "documents", SIZES)


# --- documents ---


def test_the_pieces_are_those_that_ingestion_cuts(corpus: Corpus, tmp_path: Path) -> None:
    documents = load_folder(tmp_path / "documents").documents
    cut = {p.id: p.text for d in documents for p in chunk(d, max_chars=SIZES.max_chars, min_chars=SIZES.min_chars)}
    assert {row.id: row.text for row in corpus.rows()} == cut
    assert len(cut) > len(PASSAGES)
    assert set(corpus.texts) == {"north-pier.md", "north-pier-2.md", "x-u-y.md", "ropes.md"}
    assert corpus.names["x/ü y"] == "x-u-y.md"


def test_each_passage_stands_where_the_corpus_says(corpus: Corpus) -> None:
    for passage in PASSAGES:
        at = corpus.spans[passage.id]
        assert corpus.texts[at.document][at.start : at.end] == passage.text.strip()
    assert corpus.texts["north-pier.md"].startswith("# North Pier\n\nThe first keeper")


def test_a_passage_id_with_two_texts_is_refused(tmp_path: Path) -> None:
    twice = (SourcePassage("p", "", "a", "p"), SourcePassage("p", "", "b", "p"))
    with pytest.raises(DataError, match="passage 'p' stands twice, with different texts"):
        lay_out(twice, tmp_path / "d", SIZES)
    assert lay_out((twice[0], twice[0]), tmp_path / "e", SIZES).texts == {"p.md": "a\n"}


# --- gold ---


def ask(passage: str, *answers: str, question: str = "When did it burn down?", quotes: Sequence[str] = ()) -> QuestionRow:
    return QuestionRow("q", question, answers, bool(answers), passage_ids=(passage,), quotes=tuple(quotes))


def test_a_verbatim_answer_has_the_piece_and_the_sentence_that_hold_it(corpus: Corpus) -> None:
    found = place_question(ask("p1", "the year 1911", "1911"), corpus)
    assert isinstance(found, QuestionRow)
    (gold,) = found.passage_ids
    (text,) = (row.text for row in corpus.rows() if row.id == gold)
    assert found.quotes == ("It burned down in 1911.",)
    assert "It burned down in 1911." in text
    assert found.group == "north-pier.md"


def test_the_sentence_that_fits_the_question_is_taken(tmp_path: Path) -> None:
    text = "In 1911 the hall was sold. " + "Years went by. " * 30 + "The pier burned down in 1911."
    corpus = lay_out((SourcePassage("p", "T", text, "T"),), tmp_path / "d", SIZES)
    found = place_question(ask("p", "1911", question="When did the pier burn down?"), corpus)
    assert isinstance(found, QuestionRow)
    assert found.quotes == ("The pier burned down in 1911.",)


def test_an_answer_in_other_words_rests_on_all_pieces(corpus: Corpus) -> None:
    found = place_question(ask("p1", "It was lost to a fire."), corpus)
    assert isinstance(found, QuestionRow)
    at = corpus.spans["p1"]
    assert found.passage_ids == tuple(piece.id for piece in corpus.overlapping(at.document, at.start, at.end))
    assert len(found.passage_ids) >= 3
    assert found.quotes == ()


def test_the_sets_own_quote_says_which_occurrence(tmp_path: Path) -> None:
    text = "The pier burned down in 1911. " + "Years went by. " * 30 + "In 1911 it was sold."
    corpus = lay_out((SourcePassage("p", "T", text, "T"),), tmp_path / "d", SIZES)
    found = place_question(ask("p", "1911", question="When did the pier burn down?", quotes=["In 1911 it was sold."]), corpus)
    assert isinstance(found, QuestionRow)
    assert found.quotes == ("In 1911 it was sold.",)


def test_passages_that_mislead_become_near_ones(corpus: Corpus) -> None:
    found = place_question(ask("p2"), corpus)
    assert isinstance(found, QuestionRow)
    assert (found.answerable, found.passage_ids) == (False, ())
    assert set(found.near_ids) <= {row.id for row in corpus.rows()}
    assert found.near_ids


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ask("p9", "x"), "its passage is not among the documents"),
        (QuestionRow("q", "?", ("x",), True), "it is answerable, but names no passage"),
        (ask("p5", "The hall of ropes"), "its answer stands in a heading, which no passage holds"),
    ],
)
def test_what_cannot_be_placed_is_left_out_with_the_reason(corpus: Corpus, row: QuestionRow, reason: str) -> None:
    assert place_question(row, corpus) == LeftOut("q", reason)


def test_whole_words_only() -> None:
    assert stands_in("It cost 12 \n pounds.", "12 POUNDS")
    assert not stands_in("It cost 112 pounds.", "12 pounds")
    assert not stands_in("anything", " ")


# --- splits ---


def test_rows_that_share_a_tie_are_one_group_also_over_others() -> None:
    assert groups([{"a"}, {"b"}, {"a", "c"}, {"d"}, {"c", "b"}]) == [0, 0, 0, 3, 0]


def test_groups_are_dealt_whole_to_the_shares_and_by_the_seed() -> None:
    sizes = dict.fromkeys(range(50), 4)
    split = deal(sizes, Shares(dev=0.1, test=0.2), seed=0)
    assert Counter(split.values()) == {"train": 35, "dev": 5, "test": 10}
    assert split == deal(sizes, Shares(dev=0.1, test=0.2), seed=0)
    assert split != deal(sizes, Shares(dev=0.1, test=0.2), seed=1)
    assert set(deal({0: 99, 1: 1}, Shares(0.0, 0.1), 0).values()) == {"train", "test"}


@pytest.mark.parametrize(("dev", "test"), [(-0.1, 0.1), (0.5, 0.5), (0.0, 1.0)])
def test_shares_that_leave_nothing_are_refused(dev: float, test: float) -> None:
    with pytest.raises(InputError, match="together below 1"):
        Shares(dev, test)


# --- the folder ---


def a_set(documents: int = 20) -> Source:
    """`documents` documents of two passages, two questions each, the answers different in each."""
    passages = [
        SourcePassage(f"p{d}.{n}", f"Ship {d}", f"Ship {d} carries cargo {d}x{n}. It sails on day {n}.", f"Ship {d}")
        for d in range(documents)
        for n in range(2)
    ]
    questions = [
        QuestionRow(f"q{d}.{n}", f"What does ship {d} carry on day {n}?", (f"cargo {d}x{n}",), True, passage_ids=(f"p{d}.{n}",))
        for d in range(documents)
        for n in range(2)
    ]
    return Source(tuple(passages), tuple(questions))


def make(source: Source, out: Path, options: Options | None = None) -> tuple[ImportReport, DataFolder]:
    return write_folder(source, out, options or Options(), {"set": "0" * 64}), DataFolder(out, {})


def test_a_set_becomes_a_folder_that_training_reads(tmp_path: Path) -> None:
    report, folder = make(a_set(), tmp_path / "out")
    assert report.rows == {
        "train": {"synthesizer": 28, "embedder": 28},
        "dev": {"synthesizer": 4, "embedder": 4},
        "test": {"synthesizer": 8, "embedder": 8},
    }
    assert (report.documents, report.left_out) == (20, {})
    known = folder.passages()
    homes: dict[str, str] = {}
    for split in ("train", "dev", "test"):
        for row in folder.questions(split):
            assert set(row.passage_ids) <= known.keys()
            assert homes.setdefault(row.group, split) == split
            assert all(quote in known[row.passage_ids[0]].text for quote in row.quotes)
        assert {row.query_id for row in folder.embed_rows(split)} == {row.id for row in folder.questions(split)}
    for role in (Role.SYNTHESIZER, Role.EMBEDDER):
        folder.check_leaks(role)
    assert json.loads((tmp_path / "out" / "import.json").read_text())["made_of"] == {"set": "0" * 64}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_the_same_seed_makes_the_same_folder(tmp_path: Path) -> None:
    def made(name: str, seed: int) -> dict[str, bytes]:
        make(a_set(), tmp_path / name, Options(seed=seed, withheld=0.2))
        files = (tmp_path / name).rglob("*.*")
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files}

    assert made("a", 0) == made("b", 0)
    assert made("c", 1)["test/synthesizer.jsonl"] != made("d", 0)["test/synthesizer.jsonl"]


def test_questions_of_withheld_passages_call_for_a_refusal(tmp_path: Path) -> None:
    source = a_set()
    shared = QuestionRow("extra", "On what day does ship 3 sail first?", ("Ship 3",), True, passage_ids=("p3.0",))
    report, folder = make(Source(source.passages, (*source.questions, shared)), tmp_path / "out", Options(withheld=0.5, seed=2))
    rows = [row for split in ("train", "dev", "test") for row in folder.questions(split)]
    refused = [row for row in rows if not row.answerable]
    text = "\n".join(path.read_text() for path in (tmp_path / "out" / "documents").iterdir())
    assert len(refused) == 20
    for row in rows:
        cargo = f"cargo {row.id[1:].replace('.', 'x')}."
        assert (cargo in text) is row.answerable or row.id == "extra"
    # One question's answer stands elsewhere in its document too: it is not unanswerable, and is dropped if its passage went.
    gone = {"its passage is withheld, but its answer stands elsewhere in the document": 1}
    assert report.left_out in ({}, gone)
    assert ("extra" in {row.id for row in rows}) is (report.left_out == {})
    homes = {row.group: row for row in rows if row.answerable}
    assert {row.group for row in refused if row.group.endswith(".md")} >= {r.group for r in refused if r.group in homes}


def test_a_withheld_question_that_another_passage_answers_is_left_out(tmp_path: Path) -> None:
    """Ten questions are asked of two documents each; the other document still answers where only one went."""
    passages = tuple(SourcePassage(f"p{n}", f"Log {n}", f"On page {n} the sea was calm{n}.", f"Log {n}") for n in range(20))
    questions = tuple(
        QuestionRow(
            f"q{n}", f"{'How' if n < 10 else ' how'} was the sea in week {n % 10}?", (f"calm{n}",), True, passage_ids=(f"p{n}",)
        )
        for n in range(20)
    )
    report, folder = make(Source(passages, questions), tmp_path / "out", Options(withheld=0.5))
    rows = [row for split in ("train", "dev", "test") for row in folder.questions(split)]
    answered = {row.question.strip().casefold() for row in rows if row.answerable}
    refused = {row.question.strip().casefold() for row in rows if not row.answerable}
    assert answered.isdisjoint(refused)
    assert refused
    assert report.left_out == {"its passage is withheld, but another passage answers the same question": 20 - len(rows)}
    assert len(rows) < 20


def test_fewer_documents_are_drawn_and_the_rest_is_counted(tmp_path: Path) -> None:
    report, _ = make(a_set(), tmp_path / "out", Options(documents=10))
    assert report.documents == 10
    assert report.left_out == {"its passage is not among the documents": 20}
    listed = [json.loads(line)["id"] for line in (tmp_path / "out" / "left-out.jsonl").read_text().splitlines()]
    assert len(listed) == 20


def test_a_conversation_over_two_documents_ties_them(tmp_path: Path) -> None:
    source = a_set(10)
    talk = tuple(
        QuestionRow(f"t{n}", "And that?", (f"cargo {n}x0",), True, passage_ids=(f"p{n}.0",), group="talk") for n in range(10)
    )
    with pytest.raises(DataError, match=r"no row is left for dev: the 60 rows hang together in 1 group\(s\)"):
        make(Source(source.passages, (*source.questions, *talk)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_question_that_others_of_the_set_answer_is_judged_not_refused(tmp_path: Path) -> None:
    """Its passage does not hold the answer, but the index holds another that does: refusing would be wrong."""
    source = a_set(30)
    derived = tuple(
        QuestionRow(f"u{d}", f"What does ship {d} carry on day 0?", (), False, passage_ids=(f"p{d}.1",)) for d in range(30)
    )
    away = QuestionRow("far", "What does ship 0 carry on day 1?", (), False, passage_ids=("p1.0",))
    report, folder = make(Source(source.passages, (*source.questions, *derived, away)), tmp_path / "out")
    judged = [row for split in ("train", "dev", "test") for row in folder.judgments(split)]
    assert all(row.answerable for split in ("train", "dev", "test") for row in folder.questions(split))
    assert Counter(row.label for row in judged if row.id.startswith("u")) == {"unanswerable": 30, "answerable": 30}
    one = next(row for row in judged if row.id == "u3")
    assert [passage.text for passage in one.inputs.passages] == ["Ship 3 carries cargo 3x1. It sails on day 1."]
    gold = next(row for row in judged if row.id == "u3-gold")
    assert "cargo 3x0" in gold.inputs.passages[0].text
    torn = {"its passages lie on two sides of the split": 1}
    assert report.left_out in ({}, torn)


def test_labels_and_turns_are_split_too(tmp_path: Path) -> None:
    turns = tuple(RewriteRow(f"t{n}", (), f"Who {n}?", f"Who {n}?", conversation=f"c{n // 2}") for n in range(40))
    labels = tuple(JudgeRow(f"l{n}", "intent", JudgeInputs(message=f"m{n}"), "greet" if n % 2 else "ask_way") for n in range(40))
    report, folder = make(Source(rewrites=turns, judgments=labels), tmp_path / "out")
    assert sum(held["rewriter"] for held in report.rows.values()) == 40
    assert sum(held["judge"] for held in report.rows.values()) == 40
    folder.check_leaks(Role.REWRITER)
    assert (tmp_path / "out" / "intents.yaml").read_text() == "judge:\n  intents:\n    ask_way: ask way\n    greet: greet\n"
    assert not (tmp_path / "out" / "passages.jsonl").exists()


def test_equal_texts_are_labelled_on_one_side_of_the_split(tmp_path: Path) -> None:
    texts = [f"Where is  pier {n}?" for n in range(20)] + [f" where is pier {n}? " for n in range(20)]
    labels = tuple(JudgeRow(f"l{n}", "intent", JudgeInputs(message=text), "ask_way") for n, text in enumerate(texts))
    _, folder = make(Source(judgments=labels), tmp_path / "out")
    homes: dict[str, set[str]] = {}
    for split in ("train", "dev", "test"):
        for row in read_judgments(folder.file(split, Role.JUDGE), None):
            homes.setdefault(" ".join(row.inputs.message.lower().split()), set()).add(split)
    assert len(homes) == 20
    assert all(len(sides) == 1 for sides in homes.values())


def test_a_passage_is_judged_on_one_side_of_the_split_only(tmp_path: Path) -> None:
    """Judgments of two groups that name a passage of no question: once it is shown on one side, it is no test on another."""
    judged = tuple(
        JudgeRow(f"j{n}", "support", JudgeInputs(answer=f"a{n}"), "partly", ("far.md#1",) if n < 30 else (), f"g{n}")
        for n in range(60)
    )
    report, folder = make(Source(judgments=judged, final=True), tmp_path / "out")
    folder.check_leaks(Role.JUDGE)
    naming = [split for split in ("train", "dev", "test") for row in folder.judgments(split) if row.passage_ids]
    assert len(set(naming)) == 1
    assert report.left_out == {"its passages lie on two sides of the split": 30 - len(naming)}


def test_a_turn_that_loses_its_passages_is_counted(tmp_path: Path) -> None:
    source = a_set()
    turns = tuple(
        RewriteRow(
            f"t{n}",
            (),
            "And?",
            f"What does ship {n} carry?",
            answers=tuple(answers),
            passage_ids=(passage,),
            conversation=f"c{n}",
        )
        for n, (passage, *answers) in enumerate([("p0.0", "cargo 0x0"), ("gone", "x"), ("p2.0",)])
    )
    report, folder = make(replace(source, rewrites=turns), tmp_path / "out")
    kept = {
        row.id: bool(row.passage_ids)
        for split in ("train", "dev", "test")
        if folder.has(split, Role.REWRITER)
        for row in folder.rewrites(split)
    }
    assert kept == {"t0": True, "t1": False, "t2": False}
    assert report.left_out == {
        "turn kept without its passages: its passage is not among the documents": 1,
        "turn kept without its passages: it has no answer to find there": 1,
    }
    listed = [json.loads(line)["id"] for line in (tmp_path / "out" / "left-out.jsonl").read_text().splitlines()]
    assert listed == ["t1", "t2"]


@pytest.mark.parametrize("final", [False, True])
def test_a_follow_up_without_its_standalone_form_gives_no_embedder_row(final: bool, tmp_path: Path) -> None:
    source = a_set()
    said = (Turn(Speaker.USER, "Hello"),)
    bare, whole, *rest = source.questions
    questions = (replace(bare, question="And then?", history=said), replace(whole, history=said, standalone="What then?"), *rest)
    report, folder = make(replace(source, questions=questions, final=final), tmp_path / "out")
    queries = {row.query_id: row.query for split in ("train", "dev", "test") for row in folder.embed_rows(split)}
    assert len(queries) == len(questions) - 1
    assert (bare.id in queries, queries[whole.id]) == (False, "What then?")
    assert report.left_out == {"no embedder row: it follows a conversation and has no standalone form": 1}
    assert sum(held["synthesizer"] for held in report.rows.values()) == len(questions)


def test_own_rows_keep_their_passage_ids(tmp_path: Path) -> None:
    passages = tuple(SourcePassage(f"d{n}.md#1", "D", "text", f"d{n}.md") for n in range(20))
    questions = tuple(QuestionRow(f"q{n}", "?", ("a",), True, passage_ids=(f"d{n}.md#1",)) for n in range(20))
    embeds = tuple(EmbedRow(f"e{n}", "?", (f"d{n}.md#1",)) for n in range(20))
    report, folder = make(Source(passages, questions, embeds=embeds, final=True), tmp_path / "out")
    assert set(folder.passages()) == {each.id for each in passages}
    assert (report.documents, report.rows["test"]) == (0, {"synthesizer": 4, "embedder": 4})
    assert not (tmp_path / "out" / "documents").exists()


@pytest.mark.parametrize("final", [False, True])
def test_rows_made_of_others_have_their_origin(final: bool, tmp_path: Path) -> None:
    source = a_set()
    questions = tuple(replace(row, origin=DataOrigin.MADE) for row in source.questions)
    _, folder = make(replace(source, questions=questions, final=final), tmp_path / "out")
    embeds = [row for split in ("train", "dev", "test") for row in folder.embed_rows(split)]
    assert embeds and {row.origin for row in embeds} == {DataOrigin.MADE}


def test_judgments_of_two_questions_have_the_origin_of_both(corpus: Corpus) -> None:
    asked, twin = ask("p2"), place_question(ask("p1", "1911"), corpus)
    assert isinstance(twin, QuestionRow)
    for first, second in ((DataOrigin.MADE, DataOrigin.HUMAN), (DataOrigin.FEEDBACK, DataOrigin.MADE)):
        rows = answerability_rows(replace(asked, origin=first), replace(twin, origin=second), corpus)
        assert {row.origin for row in rows} == {DataOrigin.MADE}


def test_what_is_refused(tmp_path: Path) -> None:
    make(a_set(), tmp_path / "out")
    with pytest.raises(InputError, match="out: is there already; name another folder, or delete it first"):
        make(a_set(), tmp_path / "out")
    source = a_set()
    with pytest.raises(DataError, match=r"row 'q0\.0' stands in 2 of the files"):
        make(Source(source.passages, (*source.questions, source.questions[0])), tmp_path / "twice")
    with pytest.raises(DataError, match="no row is left to write"):
        make(Source(source.passages), tmp_path / "none")
    with pytest.raises(InputError, match="a share from 0 to below 1"):
        Options(withheld=1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


# --- SQuAD whole ---

BORDERS = {
    "over a border": ("The pier stood. In 1911. Ann Vale built it all. Swans sleep.", "1911. Ann"),
    "a mark alone": ('He said "Stay!" Then he left. Nobody knew why.', '"'),
    "at the end": ("The pier is old. It was built by Ann Vale.", "Ann Vale."),
    "line ends": ("First line.\r\nSecond line has 1911.\r\nThird has swans.", "1911.\r\nThird"),
    "no character of a text": ("A\x00B in 1911 here. More words after.", "1911"),
    "its own line": ("Some words.\u2028In 1911 it burned.\x0bIn 1912 it stood.", "1912"),
    "half a word": ("Unbelievable words stand here. The believers left.", "believ"),
}


def test_squad_comes_in_whole_with_quotes_that_hold_their_answers(tmp_path: Path) -> None:
    data = []
    for title, (context, answer) in BORDERS.items():
        given = [{"text": answer, "answer_start": context.index(answer)}, {"text": context[:9], "answer_start": 0}]
        wrong = {"id": f"{title} wrong", "question": "Who left?", "answers": [{"text": "x" * 9, "answer_start": 0}]}
        asked = {"id": title, "question": "Who left? What was it?", "answers": given}
        data.append({"title": title, "paragraphs": [{"context": context, "qas": [asked, wrong]}]})
    path = tmp_path / "dev-v1.1.json"
    path.write_text(json.dumps({"version": "1.1", "data": data}), encoding="utf-8")
    report, folder = make(read_files("squad", [path]), tmp_path / "out", Options(SIZES, Shares(0.0, 0.0)))
    assert report.left_out == {'none of its answers is in the paragraph at its "answer_start"': len(BORDERS)}
    passages = folder.passages()
    rows = [row for split in ("train", "dev", "test") if folder.has(split, Role.SYNTHESIZER) for row in folder.questions(split)]
    assert {row.id for row in rows} == set(BORDERS)
    for row in rows:
        for quote in row.quotes:
            assert any(answer in quote for answer in row.answers)
            assert quote in passages[row.passage_ids[0]].text
