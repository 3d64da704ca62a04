"""The registry: immutable adapter versions on disk, and aliases such as the version in use. Knows no model and no engine.

    FOLDER/ROLE/versions/0003-1a2b3c4d/    adapter_config.json, adapter_model.safetensors, canaries.json, card.json, README.md, …
    FOLDER/ROLE/aliases.json               {"candidate", "production", "previous"}: version or null
    FOLDER/ROLE/looks.jsonl                the ledger: a line for each measurement on a test set

A version becomes `production` by evidence against what serves now. Versions and changes of aliases are atomic: written to a
temporary place in the same file system, synced and renamed (design, rule 7). One lock per role serialises writers; the system
drops it when its owner dies. Readers need no lock. Only the evidence on a version's card may change: it is measured after the
weights are published.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.adapters.admission import (
    README_FILE,
    check_version,
    fill_version,
    published_card,
)
from lorag.pipeline.adapters.card import CARD_FILE, AdapterCard, card_json, read_card
from lorag.pipeline.adapters.evidence import BARE_BASE, Against, Evidence, EvidenceKind, with_claims
from lorag.pipeline.adapters.files import build, dump_json, load_json
from lorag.pipeline.adapters.gate import NO_MARGINS, require_evidence, require_margin, require_starter_evidence
from lorag.pipeline.adapters.looks import LEDGER_FILE, Look, read_looks, recorded
from lorag.pipeline.adapters.model_card import write_model_card
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.records import Role
from lorag.pipeline.storage.atomic import aside_folder, aside_text, clear_aside_files, make_folder, sync, write_new
from lorag.pipeline.storage.locks import locked

CANDIDATE, PRODUCTION, PREVIOUS = "candidate", "production", "previous"
ALIAS_FILE = "aliases.json"
ALIASES = (CANDIDATE, PRODUCTION, PREVIOUS)
_VERSION = re.compile(r"[0-9]{4,9}-[0-9a-f]{8}")
_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Version:
    """A published version: its folder, and the aliases that point to it now."""

    role: Role
    id: str
    folder: Path
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Aliases:
    candidate: str | None = None
    production: str | None = None
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Promotion:
    """A version that serves now. `claim` allowed it, within `margin` if one was given; None if it served already."""

    version: Version
    claim: Evidence | None
    margin: float | None


class Registry:
    """The adapters in `folder`, which need not exist yet. Safe for several processes and threads.

    `margins` are those of the gate's guards, by name, if they are not the usual ones.
    """

    def __init__(self, folder: Path, margins: Mapping[str, float] = NO_MARGINS) -> None:
        self.folder, self.margins = folder, margins

    def publish(self, role: Role, source: Path, card: AdapterCard, *, candidate: bool = True) -> Version:
        """Copy the adapter files of `source` into a new version, with `card` and a README made from it.

        Files that do not belong to an adapter are not copied. With `candidate` that alias is set to the new version. Raises
        AdapterError if the adapter is damaged, its card or canaries do not fit it, or the disk is full or not writable. The
        registry is then unchanged.
        """
        if card.role is not role:
            raise AdapterError(f"{source}: its card says {card.role.value}, it cannot be published as {role.value}")
        home = self._home(role)
        with self._disk(f"publishing the {role.value} adapter"):
            make_folder(home / "versions")
            with locked(home):
                clear_aside_files(home)
            with aside_folder(home / "versions") as aside:
                fill_version(source, aside)
                facts = check_version(aside, card)
                with locked(home):
                    version = f"{self._next_number(role):04d}-{facts.weights_digest[:8]}"
                    self._commit(home, aside, published_card(card, version, facts), candidate)
        return self.resolve(role, version)

    def _commit(self, home: Path, aside: Path, card: AdapterCard, candidate: bool) -> None:
        write_new(aside / CARD_FILE, card_json(card))
        write_new(aside / README_FILE, write_model_card(card))
        sync(aside)
        aliases = self._aliases(card.role)
        if candidate:
            aliases = dataclasses.replace(aliases, candidate=card.version)
        with aside_text(home, dump_json(aliases, ALIAS_FILE)) as text:  # before the rename, so that what can fail does so early
            aside.rename(home / "versions" / card.version)
            sync(home / "versions")
            text.rename(home / ALIAS_FILE)
            sync(home)

    def attach_evidence(self, role: Role, name: str, evidence: Sequence[Evidence]) -> Version:
        """Add `evidence` to the card of a version or alias, before the older claims; a claim replaces only an older one of the
        same subject. Raises AdapterError."""
        home = self._home(role)
        version = self.resolve(role, name)
        with self._disk(f"writing the card of {role.value} {version.id}"), locked(home):
            known = read_card(version.folder)
            card = dataclasses.replace(known, evidence=with_claims(known.evidence, evidence))
            with aside_text(home, card_json(card)) as text, aside_text(home, write_model_card(card)) as readme:
                text.rename(version.folder / CARD_FILE)
                readme.rename(version.folder / README_FILE)
                sync(version.folder)
        return version

    def record_look(self, look: Look) -> Look:
        """`look` with its number and its share of alpha, appended to the ledger of its role unless it is there already.

        Raises AdapterError if the ledger is damaged or cannot be written.
        """
        home = self._home(Role(look.role))
        with self._disk(f"writing the ledger of looks of the {look.role}"):
            make_folder(home)
            with locked(home):
                return recorded(home / LEDGER_FILE, look)

    def looks(self, role: Role) -> tuple[Look, ...]:
        """The recorded looks of a role, oldest first. Raises AdapterError for a damaged ledger."""
        return read_looks(self._home(role) / LEDGER_FILE)

    def resolve(self, role: Role, name: str) -> Version:
        """The version that `name`, a version or an alias, means now. Raises AdapterError if there is none."""
        home = self._home(role)
        version = self.aliases(role).get(name)
        if version is None and name in ALIASES:
            raise AdapterError(f"no {role.value} adapter is {name} in {self.folder}; publish or promote one")
        version = version or name
        if not _VERSION.fullmatch(version):
            raise AdapterError(f"{version!r} is neither an adapter version such as 0003-1a2b3c4d nor one of {', '.join(ALIASES)}")
        if not (home / "versions" / version).is_dir():
            known = ", ".join(self._ids(role)) or "none"
            raise AdapterError(f"no version {version} of the {role.value} in {self.folder}; there are: {known}")
        return self._version(role, version)

    def list(self, role: Role | None = None) -> tuple[Version, ...]:
        """The published versions of one role, or of all, oldest first."""
        roles = (role,) if role is not None else tuple(Role)
        return tuple(self._version(r, version) for r in roles for version in self._ids(r))

    def show(self, role: Role, name: str) -> AdapterCard:
        """The card of a version or alias. Raises AdapterError."""
        version = self.resolve(role, name)
        card = read_card(version.folder)
        if (card.role, card.version) != (role, version.id):
            raise AdapterError(
                f"{version.folder / CARD_FILE}: is the card of {card.role.value} {card.version}; publish the adapter again"
            )
        return card

    def aliases(self, role: Role) -> Mapping[str, str]:
        """The set aliases and their versions."""
        aliases = self._aliases(role)
        pairs = ((name, getattr(aliases, name)) for name in ALIASES)
        return {name: version for name, version in pairs if version is not None}

    def serving(self, role: Role) -> Version | None:
        """The version that serves; None for the bare base, also if the version's card cannot be read, since it cannot be
        loaded."""
        try:
            version = self.resolve(role, PRODUCTION)
            self.show(role, version.id)
        except AdapterError:
            return None
        return version

    def as_reference(self, version: Version | None) -> Against:
        """The reference of a claim against a version; None is the bare base. Raises AdapterError."""
        if version is None:
            return BARE_BASE
        return Against(version.id, self.show(version.role, version.id).identity.weights_digest)

    def promote(self, role: Role, name: str, *, not_worse: float | None = None, accept_made: bool = False) -> Promotion:
        """Make a version, or an alias's version, `production`; the old one becomes `previous`.

        Its card must claim that it is better than what serves now, the bare base, and the floors, and that it loses no guard
        (`gate`). The claims are on held-out rows that were not made, by the role's leading metric; with `accept_made` made rows
        will do if there are no others, which is the user's own word. With `not_worse` it may be worse than what serves by this
        much, in the metric's units. Raises AdapterError with the reason of a refusal; nothing is then changed.
        """
        home = self._home(role)
        with self._disk(f"promoting a {role.value} adapter"):
            version = self.admitted(role, name, not_worse=not_worse, accept_made=accept_made)
            with locked(home):
                aliases, claim = self._aliases(role), None
                if aliases.production != version.id:
                    # What serves may have changed since the check above.
                    claim = self._claim(role, version, not_worse, accept_made=accept_made)
                    candidate = None if aliases.candidate == version.id else aliases.candidate
                    self._set_aliases(home, _Aliases(candidate, version.id, aliases.production))
        return Promotion(self.resolve(role, version.id), claim, not_worse)

    def admitted(
        self,
        role: Role,
        name: str,
        *,
        not_worse: float | None = None,
        kind: EvidenceKind | None = None,
        accept_made: bool = False,
    ) -> Version:
        """The version, if its files are intact and its evidence allows to `promote` it, or it serves already.

        Only claims of `kind` are asked if it is given. Raises AdapterError with the reason.
        """
        require_margin(not_worse)
        version = self.resolve(role, name)
        if PRODUCTION not in version.aliases:
            self._claim(role, version, not_worse, kind, accept_made=accept_made)
        check_version(version.folder, self.show(role, version.id))
        return version

    def _claim(
        self,
        role: Role,
        version: Version,
        not_worse: float | None,
        kind: EvidenceKind | None = None,
        *,
        accept_made: bool = False,
    ) -> Evidence:
        serves = self.as_reference(self.serving(role))
        return require_evidence(self.show(role, version.id), serves, not_worse, self.margins, kind, accept_made=accept_made)

    def promote_starter(self, role: Role, name: str) -> Promotion:
        """Make a bundled version `production` by the claim that it came with, if nothing is. Raises AdapterError."""
        home = self._home(role)
        with self._disk(f"promoting a {role.value} adapter"):
            version = self.resolve(role, name)
            card = self.show(role, version.id)
            claim = require_starter_evidence(card)
            check_version(version.folder, card)
            with locked(home):
                aliases = self._aliases(role)
                if aliases.production is not None:
                    raise AdapterError(f"{role.value} {aliases.production} serves already; a starter replaces no version")
                candidate = None if aliases.candidate == version.id else aliases.candidate
                self._set_aliases(home, _Aliases(candidate, version.id, aliases.previous))
        return Promotion(self.resolve(role, version.id), claim, None)

    def rollback(self, role: Role, *, to: str | None = None) -> Version:
        """Swap `previous` and `production`: a second rollback undoes the first.

        Raises AdapterError if there is no previous version, or if `to` is given and it is not that version.
        """
        home = self._home(role)
        with self._disk(f"rolling back the {role.value} adapter"):
            self.resolve(role, PREVIOUS)
            with locked(home):
                previous = self.resolve(role, PREVIOUS)
                if to not in (None, previous.id):
                    raise AdapterError(f"previous of the {role.value} is {previous.id} now, no more {to}; try again")
                aliases = self._aliases(role)
                self._set_aliases(home, _Aliases(aliases.candidate, previous.id, aliases.production))
        return self.resolve(role, previous.id)

    def undo(self, role: Role, before: Mapping[str, str], version: str) -> None:
        """Undo a promotion of `version`, or a rollback to it, and restore the aliases `before`.

        Does nothing if they were changed again since; a candidate published since stays. Raises AdapterError.
        """
        home, old = self._home(role), _Aliases(**before)
        with self._disk(f"putting the {role.value} adapters back"), locked(home):
            now = self._aliases(role)
            if (now.production, now.previous) == (version, old.production):
                moved = old.candidate == version and now.candidate is None
                candidate = version if moved else now.candidate
                self._set_aliases(home, _Aliases(candidate, old.production, old.previous))

    def _set_aliases(self, home: Path, aliases: _Aliases) -> None:
        with aside_text(home, dump_json(aliases, ALIAS_FILE)) as text:
            text.rename(home / ALIAS_FILE)
            sync(home)

    def _home(self, role: Role) -> Path:
        if not isinstance(role, Role):
            raise AdapterError(f"{role!r} is no role; roles: {', '.join(r.value for r in Role)}")
        return self.folder / role.value

    def _aliases(self, role: Role) -> _Aliases:
        path = self._home(role) / ALIAS_FILE
        if not path.exists():
            return _Aliases()
        aliases = build(_Aliases, load_json(path, limit=_LIMIT), str(path))
        for name in ALIASES:
            version = getattr(aliases, name)
            if version is not None and not _VERSION.fullmatch(version):
                raise AdapterError(f"{path}: {name} is {version!r}, which is no version; correct it by hand or promote again")
        return aliases

    def _ids(self, role: Role) -> tuple[str, ...]:
        versions = self._home(role) / "versions"
        names = [path.name for path in versions.iterdir()] if versions.is_dir() else []
        return tuple(sorted((n for n in names if _VERSION.fullmatch(n)), key=lambda n: (_number(n), n)))

    def _next_number(self, role: Role) -> int:
        return max((_number(version) for version in self._ids(role)), default=0) + 1

    def _version(self, role: Role, version: str) -> Version:
        names = tuple(name for name, v in self.aliases(role).items() if v == version)
        return Version(role, version, self._home(role) / "versions" / version, names)

    @contextlib.contextmanager
    def _disk(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise AdapterError(
                f"{doing} in {self.folder} failed: {reason}; nothing was changed, mend that and try again"
            ) from error


def _number(version: str) -> int:
    return int(version.partition("-")[0])
