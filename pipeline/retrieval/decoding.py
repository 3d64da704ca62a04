"""Bytes of a file → text: which encoding they are in, and what could not be read of them.

In this order: a byte order mark, the declared charset, UTF-8, statistics (chardet), Windows-1252. Latin-1 is never used: what is
declared as Latin-1 is Windows-1252 on the web (WHATWG Encoding Standard), and its other code points are control characters.
Knows no kinds of files.

chardet was chosen by 153 single lines in 15 encodings: it read 137 right, charset-normalizer 59, and 77 with the same candidates.
With the rules here it reads 147, and all 26 lines on which the rules were not made (tests/pipeline/retrieval/test_decoding.py).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lorag.pipeline.errors import InputError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with the mark of UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
PDF, ZIP, OLE = b"%PDF-", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
"""How files begin: a PDF, an archive, an old office document or one with a password."""
_SIGNATURES = (ZIP, OLE, b"\x1f\x8b", PDF, b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x7fELF", b"7z\xbc\xaf")
"""How files begin that are never text, whatever their name says."""
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
"""Declared charset → the one that browsers read instead, by the names that Python gives them."""
_LABELS = {"x-sjis": "cp932", "windows-31j": "cp932", "x-gbk": "gb18030", "ks_c_5601-1987": "cp949", "x-mac-roman": "mac-roman"}
_LABELS |= {"x-cp1251": "cp1251", "x-cp1252": "cp1252", "iso-8859-8-i": "iso8859-8", "x-x-big5": "big5hkscs", "unicode": "utf-8"}
_ONE_BYTE = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874", "koi8-r")
_LIKELY = (*_ONE_BYTE, "gb18030", "big5", "cp932", "euc-jp", "cp949")
"""What files without a declaration are in. The other ISO and Mac charsets only lead to wrong guesses on short texts."""
_LATIN = frozenset({"cp1250", "cp1254", "cp1257"})
_WESTERN = ("àâçéèêëîïôùûüÿœæ", "äöüßé", "áéíñóúüºª", "ãáàâçéêíóôõúü", "àèéìíîòóùú", "åäöæøé", "ëïéèöüáó", "àçèéíïóòúü")
"""Letters of French, German, Spanish, Portuguese, Italian, the Nordic languages, Dutch and Catalan."""
_WESTERN_AT_LEAST, _NO_EVIDENCE = 0.7, 0.02
"""If the letters are those of one Western language, Windows-1252 is preferred with this share of the best guess's confidence, or
if that is below the second figure."""
_META = re.compile(rb"<meta\b[^>]*?\bcharset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML = re.compile(rb"\s*<\?xml\b[^>]*?\bencoding\s*=\s*[\"']\s*([\w.:-]+)", re.IGNORECASE)
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MIXED = re.compile(r"[A-Za-z][\u0370-\u0e7f]|[\u0370-\u0e7f][A-Za-z]")
_OTHER_WORD = re.compile(r"[\u0370-\u0e7f]{2}|[\u1100-\uffff]")
_LATIN_WORD = re.compile(r"[A-Za-z]{2}")
_MARK_IN_WORD = re.compile(r"[A-Za-z][^\x00-\x7f’\xad·][A-Za-z]")
_HIGH = re.compile(r"[^\x00-\x7f]")
_HEAD, _SAMPLE = 8192, 1 << 16


@dataclass(frozen=True, slots=True)
class Decoded:
    """`replaced` bytes or sequences were no characters and are U+FFFD in `text`; `dropped` NUL characters are not in it.
    `guessed`: the encoding was neither declared nor UTF-8."""

    text: str
    encoding: str
    replaced: int = 0
    dropped: int = 0
    guessed: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """What was lost, in a line; empty if nothing."""
        if not self.replaced:
            return ()
        what = "byte that is" if self.replaced == 1 else "bytes that are"
        return (f"{self.replaced} {what} no {self.encoding.upper()}, � in the text: save the file as UTF-8",)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the rest was read, if a user should know."""
        notes = []
        if self.guessed:
            notes.append(f"read as {self.encoding.upper()}, a guess: save it as UTF-8 to be sure")
        if self.dropped:
            notes.append(f"{self.dropped} NUL character{'' if self.dropped == 1 else 's'} left out")
        return tuple(notes)


def decode(data: bytes, name: str, declared: str = "") -> Decoded:
    """The text of a file with its line ends, without the byte order mark.

    `declared` is the charset that the file or its envelope names. It is passed over if unknown, if the bytes do not fit it, or if
    they are UTF-8 beyond chance, as in pages that were saved anew and still name their old charset. Single bytes that do not
    belong in a text that is otherwise UTF-8 are replaced and counted.

    Raises:
        InputError: the bytes are no text.
    """
    if data.startswith(_SIGNATURES):
        raise _binary(name)
    found = _decode(data, declared)
    controls = _CONTROLS.findall(found.text)
    if not controls:
        return found
    nul = controls.count("\0")
    if len(controls) - nul > 0.02 * len(found.text) or nul > 0.15 * len(found.text):
        raise _binary(name)
    return replace(found, text=found.text.replace("\0", ""), dropped=nul)


def is_text(data: bytes) -> bool:
    """Whether `decode` reads these bytes, the beginning of a file."""
    try:
        decode(data, "")
    except InputError:
        return False
    return True


def declared_charset(data: bytes) -> str:
    """The charset that an HTML page or an XML file names in its head, '' if none."""
    head = _COMMENT.sub(b"", data[:_HEAD])
    found = _XML.match(head) or _META.search(head)
    if not found:
        return ""
    name = found.group(1).decode("ascii", "replace")
    # A page whose head can be read byte by byte is not in UTF-16, whatever it says.
    return "utf-8" if name.lower().startswith(("utf-16", "utf16", "ucs-2", "utf-32")) else name


def _binary(name: str) -> InputError:
    return InputError(f"{name}: binary data, not text; rename it or take it out of the folder")


def _decode(data: bytes, declared: str) -> Decoded:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _replacing(data[len(mark) :], encoding)
    if wide := _wide(data):
        return _replacing(data, wide)
    named = _codec(declared)
    good, bad = _utf8_characters(data)
    if not bad and (named in ("", "utf-8") or good >= 2 or (good and named == "cp1252")):
        return Decoded(_escaped(data), "utf-8")
    if named and named != "utf-8" and (text := _strict(data, named)) is not None:
        return Decoded(text, named)
    if not bad:
        return Decoded(_escaped(data), "utf-8")
    if good >= max(2 * bad, 2) or (named == "utf-8" and good >= bad):
        return _replacing(data, "utf-8")
    if named and named != "utf-8":
        return _replacing(data, named)
    return replace(_replacing(data, _guess(data)), guessed=True)


def _codec(declared: str) -> str:
    """Python's name of a declared charset, '' if it knows none. Codecs that are no charsets, such as `rot13`, do not count."""
    label = declared.strip().strip("\"'").lower()
    try:
        info = codecs.lookup(_LABELS.get(label, label))
    except (LookupError, ValueError):
        return ""
    name = _SUPERSETS.get(info.name, info.name)
    return name if info._is_text_encoding and not name.startswith(("utf-7", "idna", "punycode", "unicode", "raw")) else ""


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeError:
        return None


def _replacing(data: bytes, encoding: str) -> Decoded:
    text = data.decode(encoding, "replace")
    written = "\ufffd" in text and (data.count("\ufffd".encode(encoding)) if encoding.startswith("utf") else 0)
    return Decoded(text, encoding, text.count("\ufffd") - int(written))


def _utf8_characters(data: bytes) -> tuple[int, int]:
    """The numbers of well-formed characters beyond ASCII, and of sequences that are not UTF-8."""
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    return len(_HIGH.findall(text)) - bad, bad


def _escaped(data: bytes) -> str:
    """Text that is valid UTF-8. Plain ASCII with the escapes of ISO-2022-JP is Japanese, as old mails have it."""
    if b"\x1b$" in data and data.isascii() and (text := _strict(data, "iso2022_jp")) is not None:
        return text
    return data.decode("utf-8")


def _wide(data: bytes) -> str:
    """UTF-16 or UTF-32 of mostly Latin letters without a byte order mark: NULs at the same place of each unit."""
    sample = data[: _SAMPLE & ~3]
    if sample.count(0) < 0.3 * len(sample) or len(data) % 2:
        return ""
    places = [sample[place::4].count(0) / max(len(sample[place::4]), 1) for place in range(4)]
    for encoding, pattern in (("utf-32-le", "0111"), ("utf-32-be", "1110"), ("utf-16-le", "0101"), ("utf-16-be", "1010")):
        fits = all(share >= 0.7 if nul == "1" else share <= 0.1 for share, nul in zip(places, pattern, strict=True))
        if fits and _strict(data, encoding) is not None:
            return encoding
    return ""


def _guess(data: bytes) -> str:
    """The encoding of bytes that are not UTF-8, by chardet's statistics of languages.

    They err on short texts, so guesses are passed over that mix scripts within a word or see letters of another script only
    one by one. Windows-1252 is taken for marks alone (`£ 20`, `8 °C`) and for letters of one Western language that are hardly
    less likely so.
    """
    import chardet

    sample = _telling(data)
    western = _western(sample)
    if western == "marks":
        return "cp1252"
    guesses = chardet.detect_all(
        sample, ignore_threshold=True, include_encodings=_LIKELY, prefer_superset=True, compat_names=False
    )
    sure = {str(guess["encoding"]): guess["confidence"] for guess in guesses if guess["encoding"]}
    for encoding, confidence in sure.items():
        if (text := _strict(sample, encoding)) is None or _is_mixed(text, encoding):
            continue
        near = confidence < _NO_EVIDENCE or sure.get("cp1252", 0.0) >= _WESTERN_AT_LEAST * confidence
        return "cp1252" if western and encoding in _LATIN and near else encoding
    return "cp1252"


def _western(sample: bytes) -> str:
    """What the bytes beyond ASCII are as Windows-1252: `marks` only, `letters` of one Western language, or '': neither."""
    text = sample.decode("cp1252", "replace")
    letters = {letter.lower() for letter in _HIGH.findall(text) if letter.isalpha() and letter not in "ªº"}
    if "\ufffd" in text:
        return ""
    if not letters:
        return "" if _MARK_IN_WORD.search(text) else "marks"
    return "letters" if any(letters <= set(alphabet) for alphabet in _WESTERN) else ""


def _is_mixed(text: str, encoding: str) -> bool:
    """Whether a reading cannot be meant: a word of two scripts, or single letters of another script among Latin words."""
    if _MIXED.search(text):
        return True
    return encoding not in (*_LATIN, "cp1252") and bool(_LATIN_WORD.search(text)) and not _OTHER_WORD.search(text)


def _telling(data: bytes) -> bytes:
    """The lines with bytes beyond ASCII, up to a sample's length: in a long file the first may come late."""
    return b"\n".join(_lines_beyond_ascii(data))


def _lines_beyond_ascii(data: bytes) -> Iterator[bytes]:
    left = _SAMPLE
    for line in data.splitlines():
        if not line.isascii():
            yield line[:left]
            left -= len(line) + 1
        if left <= 0:
            return
