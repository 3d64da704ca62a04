"""Reads .eml: who wrote what to whom and when, the text, and which attachments were not read. Knows nothing of folders."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage

from lorag.pipeline.errors import InputError
from lorag.pipeline.retrieval import html_text
from lorag.pipeline.retrieval.decoding import decode
from lorag.pipeline.retrieval.file_content import Extracted

_SHOWN = ("From", "To", "Cc", "Date")
_SEALED = frozenset({"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"})
MAX_PARTS = 1000


def extract(data: bytes, name: str) -> Extracted:
    """The subject is the title. Of a text that is there plain and as HTML the plain one is read.

    Raises:
        InputError: encrypted, or no mail.
    """
    mail = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(mail, EmailMessage)
    if not any(_header(mail, key) for key in (*_SHOWN, "Subject", "Received", "Message-ID")):
        raise InputError(f"{name}: no mail, it has no line such as From: or Subject:; rename it")
    if mail.get_content_type() in _SEALED:
        raise InputError(f"{name}: an encrypted mail; save it decrypted")
    bodies = [_head(mail, _SHOWN)]
    missing: list[str] = []
    attached: list[str] = []
    parts = list(_parts(mail))
    for part in parts[:MAX_PARTS]:
        if part.get_content_type() == "message/rfc822":
            bodies += [_head(each, ("Subject", *_SHOWN)) for each in _within(part)]
        elif part.is_attachment() or part.get_content_maintype() != "text":
            attached.append(part.get_filename() or part.get_content_type())
        else:
            raw = part.get_payload(decode=True)
            found = decode(raw if isinstance(raw, bytes) else b"", name, str(part.get_param("charset", "")))
            missing += found.missing
            bodies.append(html_text.extract(found.text).text if part.get_content_subtype() == "html" else found.text.strip())
    if attached:
        missing.append(f"attachments not read: {', '.join(attached[:20])}; save them into the folder")
    if len(parts) > MAX_PARTS:
        missing.append(f"parts after the first {MAX_PARTS} left out")
    return Extracted(_header(mail, "Subject"), "\n\n".join(body for body in bodies if body), missing=tuple(missing))


def _parts(mail: EmailMessage) -> Iterator[EmailMessage]:
    """The parts to read and those that are attached, in order; before the parts of a forwarded mail that mail's envelope. Of
    alternatives the plain text, else the first that is text."""
    waiting = [mail]
    while waiting:
        part = waiting.pop()
        within = _within(part)
        if part.get_content_type() == "multipart/alternative":
            plain = [each for each in within if each.get_content_type() == "text/plain" and not _is_blank(each)]
            readable = [each for each in within if each.get_content_maintype() in ("text", "multipart")]
            waiting += (plain or readable or within)[:1]
            continue
        if not part.is_multipart() or part.get_content_type() == "message/rfc822":
            yield part
        waiting += within[::-1]


def _within(part: EmailMessage) -> list[EmailMessage]:
    found = part.get_payload() if part.is_multipart() else ()
    return [each for each in found if isinstance(each, EmailMessage)]


def _head(mail: EmailMessage, keys: tuple[str, ...]) -> str:
    return "\n".join(f"{key}: {value}" for key in keys if (value := _header(mail, key)))


def _is_blank(part: EmailMessage) -> bool:
    raw = part.get_payload(decode=True)
    return not (isinstance(raw, bytes) and raw.strip())


def _header(mail: EmailMessage, key: str) -> str:
    """A header in one line, '' if it is missing or cannot be parsed."""
    try:
        return " ".join(str(mail.get(key, "")).split())
    except Exception:  # the parser of addresses raises several classes for broken ones
        return ""
