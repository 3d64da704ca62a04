"""Feedback of a project: what users say of answers, kept with the trace of each answer in `PROJECT/feedback`.

Traces of new answers stay in memory, within bounds; only feedback is written to disk. Knows no route and no terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorag.pipeline.errors import InputError, UnknownAnswer
from lorag.pipeline.feedback.folder import FeedbackFolder, StoredFeedback
from lorag.pipeline.feedback.recent import RecentTraces
from lorag.pipeline.feedback.records import Feedback, Opinion, feedback_on, new_trace_id, trace_of
from lorag.pipeline.records import Passage, Query, Response

if TYPE_CHECKING:
    from lorag.feedback_export import FeedbackForm
    from lorag.training.data.formats.folder import ImportReport

Passages = Callable[[str], Iterable[Passage]]
"""The passages of a tenant's documents as they are now."""


class ProjectFeedback:
    """The feedback of one project; `Project.feedback`. Safe for several threads.

    `tenant` is empty for the project's own users. Nobody sees or changes feedback on answers of another tenant.
    """

    def __init__(self, project: Path, passages: Passages) -> None:
        self._folder, self._passages = FeedbackFolder(project), passages
        self._recent = RecentTraces()

    def remember(
        self,
        query: Query,
        response: Response,
        *,
        id: str = "",
        adapters: Mapping[str, str] | None = None,
        tenant: str = "",
        asked_by: str = "",
    ) -> str:
        """Keep the trace of a response in memory, so that feedback can speak of it, and return its id.

        `adapters` are the versions by role; without them, those that the trace names by stage.
        """
        used = {record.stage: record.adapter for record in response.trace.stages} if adapters is None else adapters
        trace = trace_of(query, response, used, id=id or new_trace_id(), tenant=tenant, asked_by=asked_by)
        self._recent.keep(trace)
        return trace.id

    def give(self, answer_id: str, opinion: Opinion, *, tenant: str = "", given_by: str = "") -> Feedback:
        """Store an opinion on an answer, durably, with the answer's trace. It replaces an earlier opinion on the same answer.

        Raises UnknownAnswer if the trace is not kept, InputError for an opinion that says nothing or contradicts itself,
        FeedbackError.
        """
        trace = self._recent.get(tenant, answer_id)
        if trace is None:
            earlier = self._folder.get(tenant, answer_id)
            if earlier is None:
                raise UnknownAnswer("no answer with this id is kept; feedback is taken on the newest answers, until a restart")
            trace = earlier.trace
        feedback = feedback_on(trace, opinion, given_by)
        self._folder.put(feedback)
        return feedback

    def withdraw(self, answer_id: str, *, tenant: str = "") -> None:
        """Delete the feedback on an answer. Raises UnknownAnswer if there is none, InputError, FeedbackError."""
        if not self._folder.remove(tenant, answer_id):
            raise UnknownAnswer("there is no feedback on an answer with this id")

    def list(self, tenant: str = "") -> StoredFeedback:
        """All feedback of one tenant, oldest first, and a line for each file that cannot be read."""
        return self._folder.read(tenant)

    def export(self, out: str | Path, form: FeedbackForm | str = "lorag", *, tenant: str = "") -> int:
        """Write all feedback of one tenant to `out` for another tool, and return how many answers it is on.

        `form` is lorag, langfuse or openwebui, see `lorag.feedback_export`. Raises InputError for another form or without any
        feedback, DataError if the file cannot be written.
        """
        from lorag.feedback_export import as_form, write_export

        wanted = as_form(form)
        entries = self._required(tenant)
        write_export(entries, Path(out), wanted)
        return len(entries)

    def rows(
        self,
        out: str | Path,
        *,
        tenant: str = "",
        dev: float = 0.1,
        test: float = 0.2,
        seed: int = 0,
        beside: str | Path | None = None,
    ) -> ImportReport:
        """Make the data folder `out` of one tenant's feedback: its documents' passages, and rows of the roles that it speaks for.

        Rows are split by document and conversation. A conversation stays in the split that it was in at an earlier call, and what
        is tied to a row of the data folder `beside` stays on that row's side. Raises InputError without any feedback or document
        and if `out` exists, DataError if no row can be made, FileError for damaged splits.
        """
        from lorag.training.data.feedback import Conversations, feedback_source
        from lorag.training.data.formats.folder import Options, require_new, write_folder
        from lorag.training.data.formats.splitting import Earlier, Shares
        from lorag.training.data.rows import PassageRow

        options = Options(shares=Shares(dev, test), seed=seed)
        require_new(Path(out))
        entries = self._required(tenant)
        conversations = Conversations.of(entries)
        earlier = Earlier(Earlier(self._folder.splits(tenant)).settled(conversations.members))
        if beside is not None:
            earlier = earlier.joined(_splits_of(Path(beside)))

        def record(splits: Mapping[str, str]) -> None:
            named = [(name, members) for name, members in conversations.members.items() if name in splits]
            self._folder.keep_splits(tenant, {member: splits[name] for name, members in named for member in members})

        passages = {passage.id: PassageRow.of(passage) for passage in self._passages(tenant)}
        source = feedback_source(entries, passages, conversations)
        made_of = {"format": "feedback", "tenant": tenant}
        return write_folder(source, Path(out), options, made_of, replace(earlier, record=record))

    def _required(self, tenant: str) -> tuple[Feedback, ...]:
        entries = self._folder.read(tenant).entries
        if not entries:
            whose = f"of the tenant {tenant}" if tenant else "of the project's own users"
            others = [name or "(the project)" for name in self.counts()]
            there = f"; there is some of: {', '.join(others)}" if others else ""
            raise InputError(f"there is no feedback {whose} yet{there}; it comes from the page and from POST /v1/feedback")
        return entries

    def counts(self) -> dict[str, int]:
        """The number of answers with feedback by tenant."""
        return self._folder.counts()


def _splits_of(folder: Path) -> dict[str, str]:
    """The split of each conversation, group and document of a data folder. Its sealed part counts as test."""
    from lorag.training.dataset import SEALED, SPLITS, DataFolder

    data = DataFolder(folder, {})
    data.require()
    sealed = dict.fromkeys(data.names(SEALED), "test")
    return sealed | {name: split for split in reversed(SPLITS) for name in data.names(split)}
