"""A project that is open: what opens when, once, and what `close` ends; questions in every form. Scripted engine, real index."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lorag
import lorag.parts
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import ConfigError, InputError, LoragError, NothingIngested, ProjectClosed, StoreError
from lorag.pipeline.records import Outcome
from lorag.pipeline.retrieval.account import FileStatus
from lorag.pipeline.retrieval.embedder import HashingEmbedder

REPLY = "The porter keeps the key. [1]"
SETTINGS = """
documents: docs
base: {model: ./no-such-base}
chunking: {max_chars: 100, min_chars: 0}
judge: {answerability: false, support: false}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of two documents whose base cannot be had: whoever loads it fails."""
    made = tmp_path / "handbook"
    (made / "docs").mkdir(parents=True)
    (made / "docs/keys.md").write_text("# Keys\n\nThe porter keeps the key in room 4.\n", encoding="utf-8")
    (made / "docs/ferry.md").write_text("# Ferry\n\nThe ferry leaves from the north quay at 07:40.\n", encoding="utf-8")
    (made / "lorag.yaml").write_text(SETTINGS, encoding="utf-8")
    return made


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(lambda request: REPLY)


@pytest.fixture
def handbook(folder: Path, engine: ScriptedEngine) -> Iterator[lorag.Project]:
    with lorag.open(folder, engine=engine, embedder=HashingEmbedder(64)) as opened:
        opened.ingest()
        yield opened


# --- the main job ---


def test_five_lines_do_the_main_job(tmp_path: Path, folder: Path, engine: ScriptedEngine) -> None:
    project = lorag.init(tmp_path / "new", folder / "docs", starters=False, engine=engine, embedder=HashingEmbedder(64))
    report = project.ingest()
    assert (report.added, report.of(FileStatus.FAILED), report.advice) == (2, (), ())
    response = project.ask("Who keeps the key?")
    assert response.answer.text == "The porter keeps the key."
    (citation,) = response.answer.citations
    assert (Path(citation.source).name, citation.quote) == ("keys.md", "The porter keeps the key in room 4.")
    project.close()


def test_a_question_may_bring_its_conversation(handbook: lorag.Project, engine: ScriptedEngine) -> None:
    turns = (lorag.Turn(lorag.Speaker.USER, "Who keeps the key?"), "Assistant: The porter.")
    handbook.ask("And at night?", turns)
    asked = handbook.ask(lorag.Query("And at night?", (turns[0], lorag.Turn(lorag.Speaker.ASSISTANT, "The porter."))))
    assert asked.question == "And at night?"
    prompts = [request.messages for request in engine.requests]
    assert len(prompts) == 4  # a rewrite and an answer, twice
    assert prompts[:2] == prompts[2:]
    assert "The porter." in prompts[0][-1].content


@pytest.mark.parametrize(
    ("question", "history", "says"),
    [
        ("  ", (), "empty"),
        ("And?", "User: Who?", "history must be a list of turns"),
        ("And?", ("Who?",), "begins with neither 'User: '"),
        (lorag.Query("And?"), ("User: Who?",), "holds its own history"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_opened(folder: Path, question: Any, history: Any, says: str) -> None:
    project = lorag.open(folder)
    for ask in (project.ask, project.stream):
        with pytest.raises(InputError, match=says):
            ask(question, history)
    assert not (folder / ".lorag").exists()


def test_a_stream_tells_the_reply_as_it_is_written(handbook: lorag.Project) -> None:
    events = list(handbook.stream("Who keeps the key?"))
    assert "".join(event.text for event in events if isinstance(event, lorag.TextDelta)) == REPLY
    assert isinstance(events[-1], lorag.Final)
    assert events[-1].response.answer == handbook.ask("Who keeps the key?").answer


def test_many_questions_are_answered_in_order_and_one_may_fail(folder: Path) -> None:
    def reply(request: Any) -> str:
        if "ferry" in request.messages[-1].content.rpartition("Question:")[2]:
            raise LoragError("no ferry today")
        return REPLY

    with lorag.open(folder, engine=ScriptedEngine(reply), embedder=HashingEmbedder(64)) as project:
        project.ingest()
        told: list[tuple[str, int, int]] = []
        responses = project.ask_many(["Who keeps the key?", "Who has the key?"], lambda *step: told.append(step))
        assert [each.question for each in responses] == ["Who keeps the key?", "Who has the key?"]
        assert {each.answer.outcome for each in responses} == {Outcome.OK}
        assert told[-1][1:] == (2, 2)
        with pytest.raises(InputError, match="empty"):
            project.ask_many(["Who keeps the key?", ""])


# --- opened late, once, and closed ---


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the parts that are opened, in order."""
    names: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            names.append(name)
            return function(*arguments, **options)

        return call

    for name in ("open_store", "open_embedder", "open_index", "open_base", "open_chain"):
        monkeypatch.setattr(lorag.parts, name, counted(name, getattr(lorag.parts, name)))
    return names


def test_nothing_is_opened_before_it_is_needed_and_then_once(folder: Path, engine: ScriptedEngine, openings: list[str]) -> None:
    project = lorag.open(folder, engine=engine, embedder=HashingEmbedder(64))
    assert (project.settings.retrieval.k, project.registry.list(), openings) == (4, (), [])
    project.ingest()
    assert openings == ["open_store", "open_index"]
    project.load()
    for _ in range(3):
        project.ask("Who keeps the key?")
    list(project.stream("Who keeps the key?"))
    project.ingest()
    assert openings == ["open_store", "open_index", "open_chain"]
    project.close()


def test_an_empty_project_is_told_so_before_its_base_is_loaded(folder: Path, openings: list[str]) -> None:
    with lorag.open(folder, embedder=HashingEmbedder(64)) as project, pytest.raises(NothingIngested, match="run `lorag ingest`"):
        project.ask("Who keeps the key?")
    assert "open_base" not in openings


def test_threads_that_need_a_part_get_the_same_one(folder: Path, engine: ScriptedEngine, openings: list[str]) -> None:
    with lorag.open(folder, engine=engine, embedder=HashingEmbedder(64)) as project:
        project.ingest()
        together, answers = threading.Barrier(8), list[str]()

        def ask() -> None:
            together.wait()
            answers.append(project.ask("Who keeps the key?").answer.text)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == ["The porter keeps the key."] * 8
        assert openings.count("open_chain") == openings.count("open_store") == 1


def test_after_close_every_use_says_so(folder: Path, engine: ScriptedEngine) -> None:
    project = lorag.open(folder, engine=engine, embedder=HashingEmbedder(64))
    project.ingest()
    project.close()
    project.close()
    uses: dict[str, Callable[[], object]] = {
        "ask": lambda: project.ask("Who keeps the key?"),
        "stream": lambda: project.stream("Who keeps the key?"),
        "ask_many": lambda: project.ask_many(["Who keeps the key?"]),
        "ingest": project.ingest,
        "load": project.load,
        "index": lambda: project.index,
        "registry": lambda: project.registry,
        "chain": lambda: project.chain,
        "retriever": lambda: project.retriever,
        "chat_model": lambda: project.chat_model,
        "train": lambda: project.train("rewriter", folder),
        "plan": lambda: project.plan("rewriter", folder),
        "evaluate": lambda: project.evaluate(folder),
        "promote": lambda: project.promote("rewriter"),
        "rollback": lambda: project.rollback("embedder"),
        "merge": lambda: project.merge("rewriter", folder / "merged"),
        "serve": project.serve,
        "with": project.__enter__,
    }
    for name, use in uses.items():
        with pytest.raises(ProjectClosed, match="is closed; open it again"):
            use()
            pytest.fail(f"{name} works after close")


def test_a_retriever_kept_after_close_does_not_open_the_index_again(folder: Path, engine: ScriptedEngine) -> None:
    """Nobody would close it, so no other process could use the index."""
    with lorag.open(folder, engine=engine, embedder=HashingEmbedder(64)) as project:
        project.ingest()
        kept = project.retriever
        assert kept.invoke("Who keeps the key?")
    with pytest.raises(StoreError, match="is closed here; open the project again"):
        kept.invoke("Who keeps the key?")


def test_an_unknown_precision_is_an_input_error(folder: Path) -> None:
    with lorag.open(folder) as project, pytest.raises(InputError, match="'fp8' is no precision; there are: nf4, int8, fp32"):
        project.merge("rewriter", folder / "merged", precision="fp8")


def test_projects_take_turns_at_an_index_and_none_holds_it_between_questions(folder: Path, engine: ScriptedEngine) -> None:
    first, second = (lorag.open(folder, engine=engine, embedder=HashingEmbedder(64)) for _ in range(2))
    with first, second:
        first.ingest()
        for project in (first, second, first):
            assert project.ask("Who keeps the key?").answer.text == "The porter keeps the key."
            assert len(list(project.stream("Who keeps the key?"))) > 1
            project.ask_many(["Who keeps the key?"])
        second.ingest(rebuild=True)
        assert first.ask("Who keeps the key?").trace.hits


def test_close_lets_go_of_the_index_even_after_an_error(folder: Path, engine: ScriptedEngine) -> None:
    with pytest.raises(RuntimeError), lorag.open(folder, engine=engine, embedder=HashingEmbedder(64)) as project:
        project.ingest()
        assert project.index.info().passages
        other = lorag.open(folder, engine=engine, embedder=HashingEmbedder(64))
        with pytest.raises(StoreError, match="open already in this process"):
            other.ask("Who keeps the key?")
        other.close()
        raise RuntimeError
    with lorag.open(folder, engine=engine, embedder=HashingEmbedder(64)) as later:
        assert later.ask("Who keeps the key?").answer.text == "The porter keeps the key."


# --- LangChain and async callers ---


def test_chain_retriever_and_chat_model_are_langchains(handbook: lorag.Project) -> None:
    assert handbook.chain.invoke("Who keeps the key?")["answer"] == "The porter keeps the key."
    best = handbook.retriever.invoke("Who keeps the key?")[0]
    assert Path(best.metadata["source"]).name == "keys.md"
    assert handbook.chat_model.invoke("Who keeps the key?").content == REPLY


def test_the_retriever_needs_no_language_model(folder: Path) -> None:
    with lorag.open(folder, embedder=HashingEmbedder(64)) as project:
        project.ingest()
        assert project.retriever.invoke("the ferry", k=1)[0].metadata["document_id"] == "ferry.md"
        with pytest.raises(LoragError, match="no-such-base"):
            project.ask("Who keeps the key?")


async def test_async_twins_do_the_same(folder: Path, engine: ScriptedEngine) -> None:
    with lorag.open(folder, engine=engine, embedder=HashingEmbedder(64)) as project:
        assert (await project.aingest()).added == 2
        response = await project.aask("Who keeps the key?", ["User: Good morning."])
        assert response.answer == project.ask("Who keeps the key?", ["User: Good morning."]).answer
        assert [each.answer.text for each in await project.aask_many(["Who?", "And?"])] == ["The porter keeps the key."] * 2
        events = [event async for event in project.astream("Who keeps the key?")]
        assert isinstance(events[-1], lorag.Final)
        assert "".join(event.text for event in events if isinstance(event, lorag.TextDelta)) == REPLY


# --- what is refused when a project is opened or made ---


def test_a_folder_that_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; make a project"):
        lorag.open(tmp_path)


def test_a_project_is_made_once(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        lorag.init(tmp_path / "new", tmp_path / "nowhere")
    assert not (tmp_path / "new").exists()
    with pytest.raises(ConfigError, match="is there already and stays as it is"):
        lorag.init(folder, folder / "docs")
    assert (folder / "lorag.yaml").read_text(encoding="utf-8") == SETTINGS


@pytest.mark.parametrize("use", ["train", "plan", "promote", "rollback", "adapters", "run_folder"])
def test_an_unknown_role_is_told_with_the_known_ones(folder: Path, use: str) -> None:
    arguments = (folder,) if use in ("train", "plan") else ()
    with pytest.raises(InputError, match="'rewritr' is no role; there are: rewriter, embedder"):
        getattr(lorag.open(folder), use)("rewritr", *arguments)


def test_others_are_not_served_without_keys(folder: Path) -> None:
    with lorag.open(folder) as project, pytest.raises(ConfigError, match="the project has no keys; make one"):
        project.serve("0.0.0.0")
