"""PDFs written by hand: Helvetica, pages as given. Enough for the readers, and independent of them."""

from __future__ import annotations

from collections.abc import Sequence

Placed = tuple[float, float, str]
"""x and y of the first letter in points from the page's lower left corner, and the text."""

IMAGE = "<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /BitsPerComponent 8 /ColorSpace /DeviceGray /Length 1 >>"


def pdf_bytes(pages: list[list[str]], title: str = "") -> bytes:
    """One page a list, one line a string, from the top left."""
    return placed_pdf([[(72, 770 - 14 * number, line) for number, line in enumerate(lines)] for lines in pages], title)


def placed_pdf(
    pages: Sequence[Sequence[Placed]],
    title: str = "",
    *,
    scanned: Sequence[int] = (),
    rotate: int = 0,
    matrix: str = "1 0 0 1",
) -> bytes:
    """Texts at their places. Pages whose number, from 1, is in `scanned` show a picture on all of the page. `rotate` is each
    page's turn, `matrix` the turn of its texts."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    objects.append(f"{IMAGE}\nstream\n0\nendstream")
    kids = []
    for number, page in enumerate(pages, start=1):
        shown = " ".join(f"{matrix} {x} {y} Tm ({_escaped(text)}) Tj" for x, y, text in page)
        content = f"BT /F1 11 Tf {shown} ET" if page else ""
        content += " q 595 0 0 842 0 0 cm /I1 Do Q" if number in scanned else ""
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
        resources = "<< /Font << /F1 3 0 R >> /XObject << /I1 4 0 R >> >>"
        facts = f"/MediaBox [0 0 595 842] /Rotate {rotate} /Contents {len(objects)} 0 R /Resources {resources}"
        objects.append(f"<< /Type /Page /Parent 2 0 R {facts} >>")
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    objects.append(f"<< /Title ({_escaped(title)}) >>")
    return _file(objects)


def _file(objects: Sequence[str]) -> bytes:
    out, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\nstartxref\n{start}\n%%EOF\n"
    return out.encode("latin-1")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
