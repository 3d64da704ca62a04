"""As `attacks`, below JSON: uploads, paths, methods, heads, and requests of which only a part comes."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tests.services.api.attacks import (
    CHAIN_BODY,
    CHAT,
    COMPLETE,
    EMBED,
    HARMLESS,
    PROMOTE,
    REFUSED,
    RETRIEVE,
    UPLOAD,
    Case,
    planted,
    request,
)

B = "limit"
FORM = f"multipart/form-data; boundary={B}"
GOOD = planted(CHAIN_BODY, "user", '"me"')


def part(name: str = "a.md", content: bytes = b"# A\n\nText.\n", head: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"' if head is None else head
    return f"--{B}\r\n".encode() + disposition.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + content + b"\r\n"


END = f"--{B}--\r\n".encode()
NAMES = (
    "",
    ".",
    "..",
    "/",
    ".md",
    "...md",
    "   ",
    "noending",
    "a.exe",
    "a.md.zip",
    "a.py",
    "../..",
    "/etc/passwd",
    "C:\\windows\\system32",
    "x" * 300 + ".md",
    "é" * 150 + ".md",
    "\u3000.md",
    "a\x00.exe",
    "\udcff\udcfe",
    "a.pdf",  # whose content is no PDF
)
MADE_SAFE = (
    "../../escaped.md",
    "..\\..\\escaped2.md",
    "/escaped3.md",
    "a;b&c|d$(e).md",
    "%2e%2e%2fescaped4.md",
    "CON.md",
    "-rf.md",
    "a b\u0301.md",
)
FORMS: tuple[tuple[str, bytes, str | None], ...] = (
    ("no content type", part() + END, None),
    ("no boundary", part() + END, "multipart/form-data"),
    ("an empty boundary", part() + END, "multipart/form-data; boundary="),
    ("another boundary", part() + END, "multipart/form-data; boundary=other"),
    ("a boundary of 5,000 characters", part() + END, "multipart/form-data; boundary=" + "x" * 5000),
    ("JSON", b"{}", "application/json"),
    ("mixed", part() + END, f"multipart/mixed; boundary={B}"),
    ("nothing", b"", FORM),
    ("only the end", END, FORM),
    ("no end", part(), FORM),
    ("half a part", part()[:40], FORM),
    ("half a boundary", part() + END[:4], FORM),
    ("bytes that are no form", b"\xff\x00" * 500, FORM),
    ("a head without an end", f"--{B}\r\n".encode() + b"X: " + b"y" * 100_000, FORM),
    ("10,000 heads", f"--{B}\r\n".encode() + b"X: y\r\n" * 10_000 + b"\r\n" + END, FORM),
    ("no disposition", part(head="X: y") + END, FORM),
    ("an empty disposition", part(head="Content-Disposition:") + END, FORM),
    ("a bare line for a head", part(head="nothing") + END, FORM),
    ("a field that is no file", part(head='Content-Disposition: form-data; name="tenant"', content=b"other") + END, FORM),
    ("a tenant beside a file", part() + part(head='Content-Disposition: form-data; name="tenant"', content=b"b") + END, FORM),
    ("two of one name", part() + part() + END, FORM),
    ("names that differ in case", part("A.md") + part("a.md") + END, FORM),
    ("65 files", b"".join(part(f"f{n}.md") for n in range(65)) + END, FORM),
    ("an empty file", part(content=b"") + END, FORM),
    ("a good and an empty file", part("b.md") + part(content=b"") + END, FORM),
    ("a zip called text", part("a.txt", b"PK\x03\x04" + b"\0" * 50) + END, FORM),
    ("a PDF called text", part("a.txt", b"%PDF-1.7 ") + END, FORM),
    ("binary called text", part("a.md", b"\x7fELF\0\0\0") + END, FORM),
    ("a form in a form", part("a.pdf", part() + END) + END, FORM),
)


def bad_uploads() -> Iterator[Case]:
    for name, body, type in FORMS:
        yield Case(f"upload: {name}", request(UPLOAD, body, type=type))
    for name in NAMES:
        yield Case(f"upload named {name[:20]!r}", request(UPLOAD, part(name) + END, type=FORM))
    for name in MADE_SAFE:
        yield Case(f"upload named {name!r}", request(UPLOAD, part(name) + END, type=FORM), HARMLESS)


# Paths and methods

TRICKS = (
    "..",
    "../..",
    "../../../../../../etc/passwd",
    "%2e%2e/%2e%2e/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "%252e%252e%252fetc%252fpasswd",
    "..;/etc/passwd",
    "....//....//etc/passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "%00",
    "a%00.md",
    "%ff%fe",
    "%c0%ae%c0%ae/",
    "%ed%a0%80",
    "%",
    "%zz",
    "~root",
    "$(id)",
    "%0d%0aX-Injected:%20yes",
    "a" * 8000,
    "index.html/..%2f..%2f__init__.py",
    "https://127.0.0.1/",
)
PREFIXES = (("GET", "/static/"), ("GET", "/v1/jobs/"), ("DELETE", "/v1/documents/"), ("GET", "/v1/adapters/"))
DEEPER = (("GET", "/v1/adapters/rewriter/"), ("GET", "/v1/adapters/judge/production/"), ("GET", "/"))
OTHER_PATHS = (
    "//",
    "/v1",
    "/v1/",
    "/V1/models",
    "/v1//adapters",
    "/v1/adapters/",
    "/.env",
    "/.git/config",
    "/lorag.yaml",
    "/.lorag/keys.json",
)


def path_tricks() -> Iterator[Case]:
    for method, prefix in (*PREFIXES, *DEEPER):
        for trick in TRICKS:
            yield Case(f"{method} {prefix}{trick[:40]}", request(prefix + trick, method=method))
    for path in OTHER_PATHS:
        yield Case(f"GET {path}", request(path, method="GET"))


METHODS = ("PATCH", "TRACE", "CONNECT", "OPTIONS", "PROPFIND", "BREW", "get", "GE", "X" * 500, "DELETE")
ROUTES = (
    CHAT,
    COMPLETE,
    EMBED,
    RETRIEVE,
    PROMOTE,
    UPLOAD,
    "/v1/models",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/",
)


def methods() -> Iterator[Case]:
    for path in ROUTES:
        for method in METHODS:
            yield Case(f"{method[:12]} {path}", request(path, method=method))
    for path in (CHAT, EMBED, RETRIEVE, PROMOTE):
        yield Case(f"GET {path}", request(path, method="GET"))


# Heads


def _head(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


_POST = (f"POST {CHAT} HTTP/1.1", "Host: x", "Connection: close", "Content-Type: application/json")
LENGTHS = ("-1", "+5", "1e3", "0x10", "5, 5", "5, 6", "", " ", "abc", "1" * 30, "²", "5\r\nContent-Length: 6", "99999999999")
CODINGS = ("identity", "gzip", "chunked, chunked", "chunked, gzip", "x", "", "chunked;x", "\x0bchunked")
CHUNKS = (
    b"zz\r\n",
    b"-5\r\nhello\r\n",
    b"5\r\nhello",
    b"FFFFFFFFFFFFFFFFFF\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
)
BEARERS = (
    "Bearer",
    "Bearer ",
    "Basic Og==",
    "bearer x y",
    "Bearer " + "x" * 9000,
    "Digest a=b",
    "Bearer \xff\xfe",
    "Bearer null",
    "\t",
)
LINES = (
    b"",
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/0.9\r\n\r\n",
    b"GET / HTTP/1.2.3\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET / HTTX/1.1\r\nHost: x\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    b" GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n A: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
    b"\x00" * 4096,
    b"\xff" * 4096,
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"EHLO there\r\n",
    b"GET http://elsewhere.example/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
)


def bad_heads() -> Iterator[Case]:
    for value in LENGTHS:
        yield _partial(f"Content-Length {value[:24]!r}", _head(*_POST, f"Content-Length: {value}", body=b"{}"))
    for value in CODINGS:
        yield _partial(f"Transfer-Encoding {value!r}", _head(*_POST, f"Transfer-Encoding: {value}", body=b"0\r\n\r\n"))
    for chunk in CHUNKS:
        yield _partial(f"chunk {chunk!r}", _head(*_POST, "Transfer-Encoding: chunked", body=chunk))
    smuggled = _head(*_POST, "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n")
    yield _partial("a length and chunks", smuggled)


def _partial(name: str, sent: bytes, expected: Collection[int] = (0, *REFUSED)) -> Case:
    return Case(name, sent, expected, partial=True)


def bad_lines() -> Iterator[Case]:
    """What is hardly HTTP. The server may close without a word, which a status of 0 stands for."""
    for line in LINES:
        yield _partial(f"line {line[:40]!r}", line, {0, *HARMLESS})


def odd_heads() -> Iterator[Case]:
    """Odd, but no reason to refuse what was asked for."""
    odd = (
        "Expect: 200-maybe",
        "Upgrade: websocket",
        "Upgrade: h2c",
        "Range: bytes=5-1",
        "Range: bytes=" + ",".join(f"{n}-{n + 1}" for n in range(0, 3000, 3)),
        "If-None-Match: " + "x" * 5000,
        "If-Modified-Since: never",
        "If-Range: \x01",
        "Accept: \xff",
        "Accept-Encoding: " + "gzip," * 1000,
        "Cookie: " + "a=b;" * 2000,
        "X-Forwarded-For: ' OR 1=1",
        "X-Forwarded-Host: elsewhere.example",
        "X-HTTP-Method-Override: DELETE",
        "Host: elsewhere.example",
        "X-Request-Id: \t\t",
        "Transfer-Encoding: chunked",
    )
    for line in odd:
        for path in ("/", "/healthz", "/static/page.css"):
            sent = request(path, method="GET", headers=[line]).decode("utf-8").encode("latin-1", "replace")
            yield Case(f"GET {path} with {line[:40]!r}", sent, {0, *HARMLESS, 206, 304})


def credentials() -> Iterator[Case]:
    """For a service with keys: none of these is one."""
    for value in (*BEARERS, None):
        headers = [] if value is None else [f"Authorization: {value}"]
        for path, method in (
            (CHAT, "POST"),
            ("/metrics", "GET"),
            (UPLOAD, "GET"),
            ("/v1/adapters", "GET"),
            ("/openapi.json", "GET"),
        ):
            sent = request(path, GOOD if method == "POST" else b"", method=method, headers=headers)
            yield Case(f"{method} {path} with {str(value)[:20]!r}", sent, {400, 401})


def halves() -> Iterator[Case]:
    """A good request cut off anywhere, after which the client says that nothing more will come."""
    whole = request(CHAT, GOOD)
    body = whole.index(b"\r\n\r\n") + 4
    cuts = [*range(1, body, 11), *range(body, len(whole), 7), body - 1, body - 2, len(whole) - 1]
    for cut in sorted(set(cuts)):
        yield _partial(f"the first {cut} of {len(whole)} bytes", whole[:cut])
    form = request(UPLOAD, part() + END, type=FORM)
    for cut in range(form.index(b"\r\n\r\n") + 4, len(form), 13):
        yield _partial(f"the first {cut} of {len(form)} bytes of an upload", form[:cut])
