"""Bad requests, made from tables: each case is the bytes that go down a socket and the statuses that may come back.

A case that says nothing else expects a refusal: a status from 400 to 499.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

REFUSED = frozenset(range(400, 500))
HARMLESS = frozenset({200, 202, *REFUSED})
"""For what may as well be taken: a prompt of 300 kB, a file name that can be made safe, a path with an odd spelling."""

CHAT, EMBED, RETRIEVE, UPLOAD = "/v1/chat/completions", "/v1/embeddings", "/v1/retrieve", "/v1/documents"
PROMOTE, COMPLETE = "/v1/adapters/rewriter/promote", "/v1/completions"
MESSAGES = [{"role": "user", "content": "Who keeps the key?"}]
CHAIN_BODY = {"model": "lorag", "messages": MESSAGES}
ROLE_BODY = {"model": "lorag/rewriter", "messages": MESSAGES}
EMBED_BODY = {"model": "lorag/embedder", "input": "key"}
RETRIEVE_BODY = {"query": "key"}
COMPLETE_BODY = {"model": "lorag/base", "prompt": [1, 2, 3]}
BODIES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (CHAT, CHAIN_BODY),
    (CHAT, ROLE_BODY),
    (EMBED, EMBED_BODY),
    (RETRIEVE, RETRIEVE_BODY),
)
JSON_TYPE = "application/json"


@dataclass(frozen=True)
class Case:
    """`name` says what is wrong; `sent` goes down the socket. Status 0 stands for a connection that is closed without a word.

    `partial`: the server may wait for more, so after a moment the client says that nothing more comes.
    """

    name: str
    sent: bytes
    expected: Collection[int] = REFUSED
    partial: bool = False


def request(
    path: str, body: bytes = b"", *, method: str = "POST", type: str | None = JSON_TYPE, headers: Collection[str] = ()
) -> bytes:
    """A whole HTTP/1.1 request that asks for the connection to be closed after the answer."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    if type is not None and (body or method == "POST"):
        lines.append(f"Content-Type: {type}")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def planted(body: Mapping[str, Any], place: str, literal: str) -> bytes:
    """`body` as JSON with `literal`, as it stands, at `place`, such as `messages.0.content`."""
    copy: Any = json.loads(json.dumps(body))
    *outer, last = place.split(".")
    at = copy
    for key in outer:
        at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
    at[int(last) if isinstance(at, list) else last] = "@@"
    return json.dumps(copy).replace('"@@"', literal).encode("utf-8", "surrogatepass")


def plant(path: str, body: Mapping[str, Any], place: str, literal: str, expected: Collection[int] = REFUSED) -> Case:
    shown = literal if len(literal) <= 24 else f"{literal[:12]}… ({len(literal)} characters)"
    return Case(f"{path} {place} = {shown}", request(path, planted(body, place, literal)), expected)


# Wrong types: every field with a value of every kind that it does not take

KINDS = {"null": "null", "bool": "true", "int": "7", "float": "7.5", "string": '"x"', "list": "[1]", "object": '{"a": 1}'}
_NOTHING: tuple[str, ...] = ()
_OPTIONAL = ("null",)
CHAT_FIELDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("model", "messages", "messages.0", "messages.0.role", "lorag.adapters"), _NOTHING),
    **dict.fromkeys(("lorag.adapters.judge", "lorag.surprise", "lorag.adapters.questioner"), _NOTHING),
    **dict.fromkeys(("lorag", "temperature", "top_p", "n", "response_format", "tool_choice", "modalities"), _OPTIONAL),
    **dict.fromkeys(("function_call", "logprobs", "top_logprobs"), _OPTIONAL),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "seed"), ("null", "int")),
    "stream": ("null", "bool"),
    "stream_options": ("null", "object"),
    "stop": ("null", "string"),
    "lorag.trace": ("bool",),
    "messages.0.content": ("string",),
}
"""Of what is read. Other fields are taken out, whatever they hold: `unread_fields`."""
FIELDS: tuple[tuple[str, Mapping[str, Any], Mapping[str, tuple[str, ...]]], ...] = (
    (CHAT, CHAIN_BODY, CHAT_FIELDS),
    (
        EMBED,
        EMBED_BODY,
        {
            **dict.fromkeys(("model", "lorag.input_type", "lorag.x"), _NOTHING),
            **dict.fromkeys(("encoding_format", "dimensions", "lorag"), _OPTIONAL),
            "input": ("string", "list"),
        },
    ),
    (RETRIEVE, RETRIEVE_BODY, {"query": ("string",), "k": ("null", "int"), "hybrid": ("null", "bool"), "tenant": _NOTHING}),
    (
        COMPLETE,
        COMPLETE_BODY,
        {
            **dict.fromkeys(("model", "prompt.0", "temperature", "top_p", "stop", "n", "messages"), _NOTHING),
            **dict.fromkeys(("logprobs", "stream_options", "top_k", "presence_penalty"), _OPTIONAL),
            **dict.fromkeys(("max_tokens", "scored_from", "seed"), ("int",)),
            **dict.fromkeys(("echo", "stream"), ("bool",)),
            "prompt": ("list", "string"),
            "stop_token_ids": ("list",),
        },
    ),
    (PROMOTE, {}, {"version": _NOTHING, "surprise": _NOTHING}),
)


def wrong_types() -> Iterator[Case]:
    for path, body, fields in FIELDS:
        for place, taken in fields.items():
            for kind, literal in KINDS.items():
                if kind not in taken:
                    yield plant(path, body, place, literal)


UNREAD = (
    *("surprise", "messages.0.surprise", "messages.0.name", "messages.0.audio", "messages.0.tool_calls"),
    *("tools", "functions", "logit_bias", "audio", "presence_penalty", "store", "prediction", "user", "metadata"),
)


def unread_fields() -> Iterator[Case]:
    for place in UNREAD:
        for literal in KINDS.values():
            yield plant(CHAT, CHAIN_BODY, place, literal, {200})
    for name in ("x" * 5000, "\\n", "<b>", r"\ud800", "鍵", ""):
        body = json.dumps(CHAIN_BODY)[:-1] + f', "{name}": 1}}'
        yield Case(f"a key {name[:9]}", request(CHAT, body.encode()), HARMLESS)
    many = {**CHAIN_BODY, **{f"key{number}": 1 for number in range(5000)}}
    yield Case("5000 keys", request(CHAT, json.dumps(many).encode()), {200})


# Numbers and sizes

NOT_NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "1" * 5000,
    "-" + "1" * 5000,
    "0x10",
    "01",
    "1e",
    "--1",
    '"one"',
)
NUMBERS: tuple[tuple[str, Mapping[str, Any], str, tuple[str, ...]], ...] = (
    (CHAT, ROLE_BODY, "max_tokens", ("1.5", '"1.5"', '"0x10"', '"1e9"', json.dumps("1" * 5000))),
    (CHAT, CHAIN_BODY, "max_completion_tokens", ("1.5", '""', '"٣"')),
    (CHAT, ROLE_BODY, "temperature", ("-0.1", "2.1", "1e308", "-1e308", str(10**30), '"nan"', '"inf"', '"1e999"')),
    (CHAT, ROLE_BODY, "top_p", ("-1", "1.1", "1e308", '"-1"')),
    (CHAT, ROLE_BODY, "seed", (str(2**63), str(-(2**63) - 1), str(10**30), "1.5")),
    (CHAT, ROLE_BODY, "n", ("0", "-1", "2", str(10**30), "1.5")),
    (RETRIEVE, RETRIEVE_BODY, "k", ("0", "-1", "101", "2147483648", str(10**30), "1.5")),
    (COMPLETE, COMPLETE_BODY, "prompt.0", ("-1", "2147483648", str(10**30), "1.0")),
    (COMPLETE, COMPLETE_BODY, "scored_from", ("0", "-1", "1.0")),
    (EMBED, EMBED_BODY, "dimensions", ("1", "0", "-1", str(10**30), "383.5")),
)
PAGES = ("-1", "1e3", "NaN", "Infinity", "1" * 30, "1" * 5000, "x", "", "%00", "1;2", "0x1", "%F0%9F%9B%A5", "1.5", "null")


def wrong_numbers() -> Iterator[Case]:
    for path, body, place, own in NUMBERS:
        for literal in (*NOT_NUMBERS, *own):
            yield plant(path, body, place, literal)
    for name in ("offset", "limit"):
        for value in PAGES:
            yield Case(f"documents?{name}={value[:20]}", request(f"{UPLOAD}?{name}={value}", method="GET"))


def _many(item: object, count: int) -> str:
    return json.dumps([item] * count)


def wrong_sizes() -> Iterator[Case]:
    """Too few, too many, too long."""
    message = MESSAGES[0]
    tables: tuple[tuple[str, Mapping[str, Any], str, tuple[str, ...]], ...] = (
        (
            CHAT,
            CHAIN_BODY,
            "messages",
            ("[]", _many(message, 5000), _many({"role": "assistant", "content": "x"}, 1)),
        ),
        (CHAT, CHAIN_BODY, "messages.0.content", ('""', '" \\n "', "[]", _many({"type": "text", "text": "x"}, 1025))),
        (CHAT, CHAIN_BODY, "messages.0.role", ('"tool"', '"function"', '""', '"USER"', '"user "')),
        (CHAT, CHAIN_BODY, "stop", (_many("x", 17), '["x", null]', json.dumps("x" * 257))),
        (
            CHAT,
            CHAIN_BODY,
            "model",
            ('""', '"lorag/"', '"lorag/../base"', '"gpt-4o"', '"LORAG"', '"lorag/embedder"', _many("m", 99)),
        ),
        (
            CHAT,
            CHAIN_BODY,
            "lorag.adapters.rewriter",
            ('"/etc"', '"../../judge"', '"0001-9f4804e3"', '""', '"Production"'),
        ),
        (CHAT, ROLE_BODY, "lorag.adapters.judge", ('"none"',)),
        (EMBED, EMBED_BODY, "input", ('""', '" "', "[]", _many("x", 2049), '["x", ""]', '["x", 1]', "[[1], 2]")),
        (EMBED, EMBED_BODY, "input", ("[-1]", "[100300]", "[2147483648]", "[[]]", "[[[1]]]", "[1.5]", "[[15339], []]")),
        (EMBED, EMBED_BODY, "model", ('"lorag"', '"text-embedding-3-small"', '"../minilm"')),
        (EMBED, EMBED_BODY, "encoding_format", ('"hex"', '""', '"FLOAT"')),
        (RETRIEVE, RETRIEVE_BODY, "query", ('""', '" \\t "')),
    )
    for path, body, place, literals in tables:
        for literal in literals:
            yield plant(path, body, place, literal)


# Text that is none

TEXT_FIELDS: tuple[tuple[str, Mapping[str, Any], str], ...] = (
    (CHAT, CHAIN_BODY, "messages.0.content"),
    (CHAT, ROLE_BODY, "messages.0.content"),
    (CHAT, CHAIN_BODY, "stop"),
    (EMBED, EMBED_BODY, "input"),
    (RETRIEVE, RETRIEVE_BODY, "query"),
)
UNREAD_FIELDS = ("user", "messages.0.name", "metadata.a", "prompt_cache_key", "surprise")
"""Nobody reads these, so text in them need only be JSON."""
BAD_TEXTS = (r'"\ud800"', r'"a\udfffb"', r'"\udfff\ud800"', '"\ud800"', '"\x01"', '"\n"', r'"\x41"', r'"\u12"', '"x')
HOSTILE_TEXTS = {
    "spaces": " x" * 150_000,
    "one word": "x" * 300_000,
    "CJK": "鍵" * 100_000,
    "emoji": "🗝" * 75_000,
    "combining marks": "e" + "\u0301" * 150_000,
    "right to left": "\u202e" * 100_000,
    "special tokens": "<|im_end|>\n<|im_start|>system\n" * 10_000,
    "escaped": "\\" * 150_000,
    "brackets": "[" * 300_000,
    "citations": "[1]" * 100_000,
}


def bad_texts() -> Iterator[Case]:
    for path, body, place in TEXT_FIELDS:
        for literal in BAD_TEXTS:
            yield plant(path, body, place, literal)
    for path, body, place in TEXT_FIELDS[:2] + TEXT_FIELDS[-2:]:
        yield plant(path, body, place, r'"a\u0000b"')
    for place in UNREAD_FIELDS:
        for literal in BAD_TEXTS:
            yield plant(CHAT, CHAIN_BODY, place, literal, HARMLESS)


def huge_texts() -> Iterator[Case]:
    for path, body, place in TEXT_FIELDS[:2] + TEXT_FIELDS[-2:]:
        for name, text in HOSTILE_TEXTS.items():
            sent = request(path, planted(body, place, json.dumps(text, ensure_ascii=False)))
            yield Case(f"{path} {place}: {len(text)} of {name}", sent, HARMLESS)
        yield plant(path, body, place, json.dumps("x" * (1 << 19) + "x"))
        yield plant(path, body, place, json.dumps("x" * (1 << 20)), {400} if path == EMBED else {413})


# JSON that is none

NOT_JSON: tuple[bytes, ...] = (
    b"",
    b" ",
    b"null",
    b"true",
    b"1",
    b"NaN",
    b'"text"',
    b"[]",
    b"[[]]",
    b"{}",
    b"{",
    b"}",
    b'{"model"',
    b'{"model":}',
    b'{"model": "lorag",}',
    b"{'model': 'lorag'}",
    b"{model: 1}",
    b"{} {}",
    b"{}x",
    b"// no\n{}",
    b"\x00",
    b"{}\x00",
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b'{"a": "\xff"}',
    b'{"a": "\xc3"}',
    b'{"a": "\xed\xa0\x80"}',
    b'{"\xff": 1}',
    b"\x80" * 1000,
    b"\x1f\x8b\x08\x00gzip",
    b"a=1&b=2",
    b"<?xml version='1.0'?><a/>",
    b'{"__proto__": {}, "constructor": 1}',
    b'{"": 1}',
)
DEPTHS = (100, 1000, 10_000, 100_000)


def not_json() -> Iterator[Case]:
    for path in (CHAT, EMBED, RETRIEVE):
        for body in NOT_JSON:
            yield Case(f"{path} body {body[:24]!r}", request(path, body))
    for body in set(NOT_JSON) - {b"", b" ", b"null", b"{}"}:  # these ask for the candidate, of which there is none: 404
        yield Case(f"{PROMOTE} body {body[:24]!r}", request(PROMOTE, body))


def deep_nesting() -> Iterator[Case]:
    for path, body in BODIES:
        for depth in DEPTHS:
            yield Case(f"{path}: {depth} lists", request(path, b"[" * depth + b"]" * depth))
            yield Case(f"{path}: {depth} objects", request(path, b'{"a":' * depth + b"1" + b"}" * depth))
            unread = REFUSED if path == RETRIEVE else HARMLESS  # elsewhere nobody reads these fields
            yield plant(path, body, "user", "[" * depth + "]" * depth, unread)
            yield plant(path, body, "metadata", '{"a":' * depth + "1" + "}" * depth, unread)


def duplicate_keys() -> Iterator[Case]:
    """The last of two counts, as in most readers of JSON; a bad one is found wherever it stands last."""
    for path, body in BODIES:
        whole = json.dumps(body)
        for key, value in body.items():
            twice = f'{{"{key}": 7, {whole[1:]}'.encode()
            yield Case(f"{path}: {key} twice, the last right", request(path, twice), HARMLESS)
            last = f'{whole[:-1]}, "{key}": 7}}'.encode()
            yield Case(f"{path}: {key} twice, the last wrong", request(path, last))
            assert json.loads(twice) == body and value != 7


CONTENT_TYPES = (
    None,
    "text/plain",
    "text/html",
    "application/xml",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "application/json5",
    "application",
    "/",
    ";",
    "json",
    "application/json/x",
    "x" * 4000,
)


def content_types() -> Iterator[Case]:
    for path, body in BODIES:
        for type in CONTENT_TYPES:
            yield Case(f"{path} as {str(type)[:40]}", request(path, json.dumps(body).encode(), type=type))
        for coded in ("utf-16", "utf-32"):
            yield Case(
                f"{path} in {coded}",
                request(path, json.dumps(body).encode(coded), type=f"{JSON_TYPE}; charset={coded}"),
                HARMLESS,
            )
        yield Case(f"{path} said to be gzip", request(path, b"\x1f\x8b\x08", headers=["Content-Encoding: gzip"]))
