"""Feedback of a project: what users say of answers, kept with the trace of each answer in `PROJECT/feedback`.

Traces of new answers stay in memory, within bounds; only feedback is written to disk. Knows no route and no terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lorag.pipeline.errors import UnknownAnswer
from lorag.pipeline.feedback.folder import FeedbackFolder, StoredFeedback
from lorag.pipeline.feedback.recent import RecentTraces
from lorag.pipeline.feedback.records import Feedback, Opinion, feedback_on, new_trace_id, trace_of
from lorag.pipeline.records import Query, Response


class ProjectFeedback:
    """The feedback of one project; `Project.feedback`. Safe for several threads.

    `tenant` is empty for the project's own users. Nobody sees or changes feedback on answers of another tenant.
    """

    def __init__(self, project: Path) -> None:
        self._folder = FeedbackFolder(project)
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

    def counts(self) -> dict[str, int]:
        """The number of answers with feedback by tenant."""
        return self._folder.counts()
