"""The queue of background work, with a scripted work: order, states on disk, and what a stop or a kill leaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lorag.pipeline.errors import StoreError
from lorag.services.api.background import MAX_STARTS, Job, Jobs, JobState, Order, Progress, TenantFile, new_id
from lorag.services.api.errors import ApiError
from tests.services.api.small_service import wait_for

Script = Callable[[Job, Progress], tuple[str, str | None]]


def succeed(job: Job, progress: Progress) -> tuple[str, str | None]:
    progress(1, 2, "half")
    return "fine", None


@dataclass
class Scripted:
    """Does what it is told and remembers what it was asked."""

    script: Script = succeed
    orders: list[Order] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    swept: list[set[str]] = field(default_factory=list)

    def sweep(self, unfinished: Collection[str]) -> None:
        self.swept.append(set(unfinished))

    def needed(self, busy: Collection[TenantFile]) -> list[Order]:
        return self.orders

    def run(self, job: Job, progress: Progress) -> tuple[str, str | None]:
        self.ran.append(job.id)
        return self.script(job, progress)

    def give_up(self, job: Job) -> None:
        self.given_up.append(job.id)

    def finish(self, job: Job) -> None:
        self.finished.append(job.id)


def order(tenant: str = "red", *files: str) -> Order:
    return Order("ingest", tenant, files or ("a.md",))


def state(jobs: Jobs, job: Job) -> JobState:
    found = jobs.get(job.tenant, job.id)
    assert found is not None
    return found.state


def on_disk(folder: Path, job: Job) -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / f"{job.id}.json").read_text())
    return content


def test_jobs_are_done_in_order_and_each_state_is_on_disk(tmp_path: Path) -> None:
    seen: list[object] = []
    work = Scripted(lambda job, progress: (seen.append(on_disk(tmp_path, job)["state"]), ("fine", None))[1])
    jobs = Jobs(tmp_path, work)
    made = [jobs.add(order()) for _ in range(3)]
    assert [on_disk(tmp_path, job)["state"] for job in made] == ["queued"] * 3
    jobs.start()
    wait_for(lambda: all(state(jobs, job) is JobState.DONE for job in made))
    jobs.close()
    assert work.ran == work.finished == [job.id for job in made] and seen == ["running"] * 3
    assert {on_disk(tmp_path, job)["state"] for job in made} == {"done"}
    assert [job.id for job in jobs.of("red")] == [job.id for job in reversed(made)]
    assert jobs.of("blue") == () and jobs.get("blue", made[0].id) is None


@pytest.mark.parametrize(
    ("failure", "words", "given_up"),
    [
        (StoreError("index /x/y: secret words"), "the index cannot be reached; try again later", True),
        (RuntimeError("secret words"), "a bug in LoRAG", True),
        (OSError(28, "No space left on device"), "the disk refused: No space left on device", True),
        (None, "a.md: holds no text", False),
    ],
)
def test_a_job_that_fails_says_why_and_the_next_is_done(
    tmp_path: Path, failure: Exception | None, words: str, given_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorag.services.api.background.PAUSE", 0.0)

    def script(job: Job, progress: Progress) -> tuple[str, str | None]:
        if job.files == ("good.md",):
            return "fine", None
        if failure is None:
            return "0 of 1 files read", "a.md: holds no text"
        raise failure

    jobs = Jobs(tmp_path, work := Scripted(script))
    jobs.start()
    bad, good = jobs.add(order()), jobs.add(order("red", "good.md"))
    wait_for(lambda: state(jobs, good) is JobState.DONE)
    jobs.close()
    failed = jobs.get("red", bad.id)
    assert failed is not None and failed.state is JobState.FAILED and words in (failed.error or "")
    assert "secret" not in (failed.error or "") and work.given_up == ([bad.id] if given_up else [])


def test_a_stop_leaves_the_job_queued_for_the_next_start(tmp_path: Path) -> None:
    entered = threading.Event()

    def script(job: Job, progress: Progress) -> tuple[str, str | None]:
        entered.set()
        while True:
            progress(1, 9, "a.md")

    jobs = Jobs(tmp_path, stopped := Scripted(script))
    jobs.start()
    job = jobs.add(order())
    assert entered.wait(10)
    jobs.close()
    assert (on_disk(tmp_path, job)["state"], on_disk(tmp_path, job)["starts"], stopped.finished) == ("queued", 0, [])
    later = Jobs(tmp_path, work := Scripted())
    later.start()
    wait_for(lambda: state(later, job) is JobState.DONE)
    later.close()
    assert work.swept == [{job.id}]


def test_a_job_that_takes_the_service_down_is_given_up_after_some_starts(tmp_path: Path) -> None:
    """What a kill leaves: the file says running."""
    job = Jobs(tmp_path, Scripted()).add(order())
    for starts in range(1, MAX_STARTS + 1):
        (tmp_path / f"{job.id}.json").write_text(json.dumps({**on_disk(tmp_path, job), "state": "running", "starts": starts}))
        jobs = Jobs(tmp_path, work := Scripted())
        jobs.start()
        wait_for(lambda jobs=jobs: state(jobs, job) in (JobState.DONE, JobState.FAILED))  # type: ignore[misc]
        jobs.close()
        assert (work.ran, work.given_up) == (([job.id], []) if starts < MAX_STARTS else ([], [job.id]))
    assert "cut short 3 times" in str(on_disk(tmp_path, job)["error"])


def test_files_that_are_no_jobs_and_leftovers_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / f"{new_id()}.json").write_text('{"id": "cut off')
    (tmp_path / f"{new_id()}.json").write_text('{"id": "x", "unknown": 1}')
    (tmp_path / ".lorag-aside-0011223344556677").write_text("{")
    jobs = Jobs(tmp_path, Scripted(orders=[order("blue", "lost.md")]))
    jobs.start()
    wait_for(lambda: [job.state for job in jobs.of("blue")] == [JobState.DONE])
    jobs.close()
    assert jobs.of("red") == () and list(tmp_path.glob(".*")) == []


def test_old_finished_jobs_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorag.services.api.background.KEEP_FINISHED", 3)
    jobs = Jobs(tmp_path, Scripted())
    jobs.start()
    made = [jobs.add(order()) for _ in range(6)]
    wait_for(lambda: all(job.finished for job in jobs.of("red")) and len(jobs.of("red")) == 3)
    jobs.close()
    assert [job.id for job in jobs.of("red")] == [job.id for job in reversed(made[3:])]
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == [job.id for job in made[3:]]


def test_a_full_queue_counts_one_tenant_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorag.services.api.background.MAX_WAITING", 2)
    jobs = Jobs(tmp_path, Scripted())
    for _ in range(2):
        jobs.add(order())
    with pytest.raises(ApiError) as refused:
        jobs.add(order())
    assert refused.value.status == 429
    jobs.add(order("blue"))
    jobs.add(Order("recheck", "red", ()))


def test_a_file_that_a_job_is_about_is_not_touched_meanwhile(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, Scripted())
    jobs.add(order("red", "a.md", "b.md"))
    with pytest.raises(ApiError) as refused:
        jobs.unless_busy("red", "b.md", lambda: pytest.fail("done all the same"))
    assert refused.value.status == 409
    assert jobs.unless_busy("red", "c.md", lambda: 7) == jobs.unless_busy("blue", "b.md", lambda: 7) == 7


def test_a_disk_that_refuses_does_not_end_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(tmp_path, Scripted())
    job = jobs.add(order())

    def refuse(path: Path, content: object, *, mode: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lorag.services.api.background.write_file", refuse)
    jobs.start()
    wait_for(lambda: state(jobs, job) is JobState.DONE)
    with pytest.raises(OSError, match="No space"):
        jobs.add(order())
    jobs.close()
    assert on_disk(tmp_path, job)["state"] == "queued"


def test_ids_sort_by_time() -> None:
    ids = [new_id() for _ in range(100)]
    assert ids == sorted(ids) and len(set(ids)) == 100 and {len(id) for id in ids} == {32}


def test_while_the_store_is_away_nothing_is_dropped_and_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither tried less than it may be, nor finished before it could be undone."""
    monkeypatch.setattr("lorag.services.api.background.PAUSE", 0.05)
    away = threading.Event()
    away.set()

    class Away(Scripted):
        def give_up(self, job: Job) -> None:
            super().give_up(job)
            if away.is_set():
                raise StoreError("gone")

    def script(job: Job, progress: Progress) -> tuple[str, str | None]:
        if job.tenant == "red":
            raise StoreError("gone")
        return "fine", None

    jobs = Jobs(tmp_path, work := Away(script))
    red, later, blue = jobs.add(order()), jobs.add(order()), jobs.add(order("blue"))
    jobs.start()
    wait_for(lambda: len(work.given_up) >= 2)
    assert state(jobs, blue) is JobState.DONE and state(jobs, red) is JobState.QUEUED and red.id not in work.finished
    assert work.ran.count(red.id) == MAX_STARTS and later.id not in work.ran
    away.clear()
    wait_for(lambda: state(jobs, later) is JobState.FAILED)
    jobs.close()
    assert state(jobs, red) is JobState.FAILED and work.finished == [blue.id, red.id, later.id]


def test_tenants_take_turns(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, work := Scripted())
    made = [jobs.add(order(tenant)) for tenant in ("red", "red", "red", "blue", "blue")]
    jobs.start()
    wait_for(lambda: len(work.finished) == 5)
    jobs.close()
    assert work.ran == [made[number].id for number in (0, 3, 1, 4, 2)]


def test_what_is_wanted_waits_once(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, Scripted(orders=[Order("recheck", "red", ("a.md",)), Order("recheck", "blue", ("a.md",))]))
    for _ in range(2):
        jobs.check_uploads()
    assert len(jobs.of("red")) == len(jobs.of("blue")) == 1


def test_an_action_holds_up_jobs_on_its_file_and_nothing_else(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, work := Scripted())
    jobs.start()

    def action() -> None:
        same, other = jobs.add(order("red", "a.md")), jobs.add(order("blue", "a.md"))
        wait_for(lambda: state(jobs, other) is JobState.DONE)
        assert state(jobs, same) is JobState.QUEUED
        with pytest.raises(ApiError):
            jobs.unless_busy("red", "a.md", lambda: pytest.fail("done twice"))

    jobs.unless_busy("red", "a.md", action)
    wait_for(lambda: len(work.finished) == 2)
    jobs.close()
