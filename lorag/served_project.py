"""A project whose index is open in a running `lorag serve`: the use cases of `Project` that commands need, through that service.

So a second terminal works while the first one serves. Knows no command and no route's inside; `lorag.service_address` says where
the service listens, `lorag.service_wire` how records are written.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from lorag.conversation import query_of
from lorag.opening import open_project
from lorag.pipeline.chain import Event, Final, TextDelta
from lorag.pipeline.errors import InputError, LoragError, ServiceError
from lorag.pipeline.records import Query, Response, Role
from lorag.pipeline.retrieval.ingest import IngestReport, Progress
from lorag.pipeline.storage.strict_json import build
from lorag.project import Project, as_role
from lorag.promotion import SealedTest, Switch, open_sealed, require_production
from lorag.service_address import ServiceAddress, service_address, settings_digest
from lorag.service_wire import dump, load
from lorag.version import lorag_version

if TYPE_CHECKING:
    import httpx

    from lorag.evaluating.measuring import Documents
    from lorag.evaluating.measuring import Progress as MeasuringProgress
    from lorag.pipeline.config import Settings
    from lorag.pipeline.evaluation.report.decision import DecisionCard

Record = TypeVar("Record")

CONNECT = 5.0
"""Seconds to reach the service. It may work on a request for as long as it needs."""
_LOOK_AGAIN = 0.3


def open_or_served(folder: Path) -> Project | ServedProject:
    """The project in `folder`: through its service if one has it open, else opened here. Raises as `open_project`."""
    project = open_project(folder)
    served = served_project(folder, project.settings)
    if served is None:
        return project
    project.close()
    return served


def served_project(folder: Path, settings: Settings) -> ServedProject | None:
    """The project through the service that has it open. None if there is none that this user may use and this machine reaches."""
    address = service_address(folder)
    if address is None:
        return None
    if address.version != lorag_version():
        what = f"`lorag serve` (process {address.process}) is LoRAG {address.version}, and this is {lorag_version()}"
        raise ServiceError(f"{what}; end that service and start it again")
    served = ServedProject(folder, settings, address)
    if served.is_there():
        return served
    served.close()
    return None


class ServedProject:
    """The project in `folder`, served at `address`. Methods are those of `Project`. They raise what the service raised, and
    ServiceError if it fails or ends meanwhile."""

    def __init__(self, folder: Path, settings: Settings, address: ServiceAddress) -> None:
        import httpx

        self.folder, self.settings, self.address = folder, settings, address
        headers = {"Authorization": f"Bearer {address.key}"}
        timeout = httpx.Timeout(None, connect=CONNECT)
        # A proxy of the environment must see neither the key nor a request to this machine.
        self._client = httpx.Client(base_url=f"{address.url}/v1/owner", headers=headers, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. The service runs on."""
        self._client.close()

    @property
    def has_other_settings(self) -> bool:
        """Whether lorag.yaml has changed since the service read it."""
        return settings_digest(self.folder) != self.address.settings

    def is_there(self) -> bool:
        """Whether the service that wrote the address answers there: it proves that it knows the key, which is not sent."""
        import httpx

        nonce = secrets.token_hex(16)
        expected = hmac.digest(self.address.key.encode(), nonce.encode(), "sha256").hex()
        try:
            reply = httpx.get(
                f"{self.address.url}/v1/owner/proof", params={"nonce": nonce}, timeout=CONNECT, trust_env=False
            ).json()
        except (httpx.HTTPError, ValueError):
            return False
        return isinstance(reply, dict) and hmac.compare_digest(str(reply.get("proof")), expected)

    def load(self) -> Self:
        """Wait until the service is ready to answer."""
        while self._starting():
            time.sleep(_LOOK_AGAIN)
        return self

    def _starting(self) -> bool:
        import httpx

        try:
            reply = self._client.get(f"{self.address.url}/readyz")
        except httpx.HTTPError as error:
            raise self._gone(error) from error
        return reply.status_code == 503 and _error_of(reply)[0] == "starting"

    def ask(self, question: str | Query) -> Response:
        """As `Project.ask`."""
        with closing(self.stream(question)) as events:
            for event in events:
                if isinstance(event, Final):
                    return event.response
        raise AssertionError("a stream ends with its response")

    def stream(self, question: str | Query, /) -> Generator[Event]:
        """As `Project.stream`, without the events of stages."""
        query = query_of(question)
        self.load()
        with closing(self._post("ask", {"query": query})) as lines:
            for line in lines:
                if "text" in line:
                    yield TextDelta(line["text"])
                elif "response" in line:
                    yield Final(build(Response, line["response"], "response"))

    def ingest(self, *, rebuild: bool = False, on_progress: Progress | None = None) -> IngestReport:
        """As `Project.ingest`. Raises ServiceError if lorag.yaml has changed since the service started."""
        self._require_same_settings()
        return self._result("ingest", {"rebuild": rebuild}, IngestReport, "report", on_progress)

    def promote(
        self,
        role: Role | str,
        version: str = "candidate",
        *,
        not_worse: float | None = None,
        data: str | Path | None = None,
        accept_made: bool = False,
        on_progress: MeasuringProgress | None = None,
        on_documents: Documents | None = None,
        on_card: Callable[[DecisionCard], None] | None = None,
    ) -> Switch:
        """As `Project.promote`. A sealed part is measured in this process. If no collection fits an embedder, the service fills
        one first, which `on_documents` counts."""
        self._require_same_settings()
        wanted = as_role(role)
        require_production(self.settings, wanted)
        if data is not None:
            sealed = SealedTest(Path(data), on_progress, on_documents, on_card)
            open_sealed(self.settings, wanted, version, not_worse, sealed)
        body = {"role": wanted.value, "version": version, "not_worse": not_worse, "accept_made": accept_made}
        shown = None if on_documents is None else lambda done, total, name: on_documents(done, total)
        return self._result("promote", body, Switch, "switch", shown)

    def rollback(self, role: Role | str) -> Switch:
        """As `Project.rollback`."""
        wanted = as_role(role)
        require_production(self.settings, wanted)
        return self._result("rollback", {"role": wanted.value}, Switch, "switch")

    def index_line(self) -> str:
        """The project's index in one line."""
        import httpx

        try:
            reply = self._client.get("index")
            info: Mapping[str, Any] = reply.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise self._gone(error) from error
        return f"{info['passages']} passages in {info['location']}, filled by {info['encoder']}"

    def _require_same_settings(self) -> None:
        if self.has_other_settings:
            what = f"lorag.yaml has changed since `lorag serve` (process {self.address.process}) read it"
            raise ServiceError(f"{what}; end that service, or take the change back, and try again")

    def _result(
        self, route: str, body: Mapping[str, Any], kind: type[Record], name: str, on_progress: Progress | None = None
    ) -> Record:
        self.load()
        found: Record | None = None
        with closing(self._post(route, body)) as lines:
            for line in lines:
                if "progress" in line and on_progress is not None:
                    on_progress(*line["progress"])
                elif name in line:
                    found = build(kind, line[name], name)
        if found is None:
            raise self._gone(EOFError("the reply ended early"))
        return found

    def _post(self, route: str, body: Mapping[str, Any]) -> Generator[dict[str, Any]]:
        """The lines of the reply. Raises the error that one of them holds."""
        import httpx

        try:
            with self._client.stream("POST", route, content=dump(body), headers={"Content-Type": "application/json"}) as reply:
                if reply.status_code != httpx.codes.OK:
                    reply.read()
                    kind = InputError if reply.status_code == httpx.codes.BAD_REQUEST else ServiceError
                    raise kind(_error_of(reply)[1])
                yield from _checked(reply.iter_lines())
        except (httpx.HTTPError, ValueError) as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> ServiceError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return ServiceError(
            f"`lorag serve` (process {self.address.process}) at {self.address.url} ended or failed ({reason}); try again"
        )


def _checked(lines: Iterator[str]) -> Generator[dict[str, Any]]:
    for text in lines:
        line = load(text)
        if isinstance(error := line.get("error"), LoragError):
            raise error
        yield line


def _error_of(reply: httpx.Response) -> tuple[str, str]:
    """Code and message of an error response."""
    try:
        error = reply.json()["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return "", f"the service answered with status {reply.status_code}"
