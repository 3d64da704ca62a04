"""Which titles say what a document is about. Programs write others: file names, their own names, placeholders.

A title heads every passage of its document, so a useless one makes all passages alike. Knows no kinds of files.
"""

from __future__ import annotations

import re

_PROGRAMS = (
    r"(?:microsoft (?:office )?(?:word|powerpoint|excel|publisher|visio|outlook)|word|powerpoint|excel"
    r"|(?:libre|open)office\S*|wordperfect|notepad\+*|textpad|google (?:docs|slides|sheets)"
    r"|(?:adobe )?(?:acrobat|indesign|pagemaker|framemaker|illustrator)(?: distiller| pdfmaker| cs\d*| cc)?"
    r"|quarkxpress|pages|keynote)"
)
_PRINTED_FROM = re.compile(
    r"(?:microsoft (?:office )?\w+|(?:libre|open)office \w+|wordpad|notepad\+*|writer|calc|impress)(?: document)?\s+[-–—]\s+",
    re.IGNORECASE,
)
_PRODUCERS = re.compile(
    rf"(?:{_PROGRAMS}|reportlab.*|pdftex.*|latex.*|ghostscript.*|wkhtmltopdf.*|fpdf.*|itext.*|cairo.*|skia.*|prince.*|weasyprint.*"
    r"|crystal reports.*|print(?:ing)?|print to pdf|camscanner.*|scan(?:ned)?(?: (?:document|with .*|from .*|\d.*|to .*))?"
    r"|document|file|fax|image|template|layout|draft|cover|title|title page|index|home|home ?page|main|default|welcome|frameset"
    r"|new page|blank(?: page| document)?|normal|slide|book|workbook|presentation|spreadsheet|email|e-mail|message|form"
    r"|powerpoint presentation|word document|excel (?:workbook|spreadsheet)|pdf|pdf document|my document|new document"
    r"|microsoft word(?: document)?|no title|no subject|sans titre|ohne titel|unbenannt|sin título|senza titolo|без названия)"
    r"[\s_-]*\(?\d{0,4}\)?",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"\W*(?:untitled|unnamed|unknown|anonymous|unspecified|none|null|n/?a|tbd|xxx+|test)"
    r"(?:[\W\d_]+(?:document|presentation|spreadsheet|page|slide|design|file|form|report)?)?[\W\d_]*",
    re.IGNORECASE,
)
_EXTENSIONS = (
    r"docx?|dotx?|docm|rtf|odt|ott|wpd|pages|txt|md|tex|dvi|ps|eps|pdf|xlsx?|xlsm|ods|csv|pptx?|ppsx?|odp|key|indd|indt|qxd|qxp|pub|vsdx?"
    r"|html?|xhtml|aspx?|php|jsp|cfm|png|jpe?g|tiff?|gif|bmp|cdr|ai|fm|sxw|pmd|p65|msg|eml|tmp|bak|dwg"
)
_FILE_NAME = re.compile(rf"[^\n]*\.(?:{_EXTENSIONS})\W*(?:\(\d+\)|\[[^\]]*\])?\W*", re.IGNORECASE)
_PATH = re.compile(r"(?:[a-z]:[\\/]|\\\\|file:|https?://|~?/|\.{1,2}/)\S.*", re.IGNORECASE)
_CODE = re.compile(r"(?=.*\d)[\w.-]*[\d_]{4,}[\w.-]*", re.ASCII)


def useful_title(raw: str) -> str:
    """The title in one line, '' if it does not say what the document is about.

    Useless are file names and paths, also behind the program that printed them (`Microsoft Word - fees.doc`), names of programs,
    placeholders (`untitled`), control characters and codes (`scan_20240112`).
    """
    title = " ".join("".join(each if each.isprintable() else " " for each in raw).split()).strip(" \t-–—_|")
    title = _PRINTED_FROM.sub("", title, count=1) if _PRINTED_FROM.match(title) else title
    useless = (_PRODUCERS, _PLACEHOLDER, _FILE_NAME, _PATH, _CODE)
    if not any(each.isalpha() for each in title) or any(pattern.fullmatch(title) for pattern in useless):
        return ""
    return title if sum(each == "\ufffd" for each in title) <= len(title) // 10 else ""
