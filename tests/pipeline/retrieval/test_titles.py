"""Which titles head passages."""

from __future__ import annotations

import pytest

from lorag.pipeline.retrieval.titles import useful_title

USELESS = """
    Microsoft Word - Draft1_v3_final.docx|Microsoft PowerPoint - talk.pptx [Read-Only]|untitled|Untitled Document
    untitled-1|(anonymous)|i-xx_Phobias-fm.indd|C:\\Users\\ada\\fees.doc|file:///var/x.html|/srv/ada/fees
    http://example.org/print?id=3|README.md|PowerPoint Presentation|Slide 1|Document1|Book1|scan_20240112|IMG_2034
    Title page|Home|index|N/A|xxx|ReportLab PDF Library|CamScanner 01-02-2026|\0\1|—|Unbenannt|2026
""".strip("\n")
USEFUL = """
    Boat fees 2026|Rules for berth 4.2|Test of the crane|Unknown soldier memorial|None of the above|Index of berths
    Welcome to the harbour|Node.js|Using ASP.NET|ISO 9001|Form 27B|Annual Report 2023|Word order in German
    Cover letter|价目表|Рассылка
""".strip("\n")


def cells(text: str) -> list[str]:
    return [cell.strip(" ") for line in text.split("\n") for cell in line.split("|")]


@pytest.mark.parametrize("raw", cells(USELESS))
def test_names_of_files_programs_and_placeholders_are_no_titles(raw: str) -> None:
    assert useful_title(raw) == ""


@pytest.mark.parametrize("raw", cells(USEFUL))
def test_titles_that_say_something_stay(raw: str) -> None:
    assert useful_title(raw) == raw


def test_the_program_before_a_title_goes() -> None:
    assert useful_title("Microsoft Word - Boat fees\n 2026") == "Boat fees 2026"
