"""Which encoding a file is in: declared, marked, guessed; and what is said of bytes that are no text."""

from __future__ import annotations

import codecs

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.retrieval.decoding import declared_charset, decode

# None of these sentences stood in the set that the rules were chosen on.
GUESSED = [
    ("cp1252", "Mooring costs £12 – tugs cost “extra”."),
    ("cp1252", "Depth 3½ fathoms"),
    ("cp1252", "The skipper’s café"),
    ("cp1252", "Für Hunde gilt: an die Leine!"),
    ("cp1252", "La clé est gardée près du phare."),
    ("cp1252", "È vietato fumare nel molo."),
    ("cp1252", "Está prohibido pescar aquí."),
    ("cp1252", "Døren låses kl. 22"),
    ("cp1250", "Klucz wisi obok drzwi, proszę go oddać."),
    ("cp1250", "Klíč visí u dveří, prosím vraťte jej."),
    ("cp1250", "A kulcs az ajtó mellett lóg, kérjük, hozza vissza időben."),
    ("cp1251", "Ключ висит у двери."),
    ("cp1251", "Склад № 4"),
    ("koi8-r", "Ключ висит у двери, верните его вечером."),
    ("gb18030", "钥匙挂在门旁边。"),
    ("gb18030", "闭馆"),
    ("big5", "鑰匙掛在門旁邊，請記得歸還。"),
    ("cp932", "鍵はドアの横に掛かっています。"),
    ("cp932", "禁煙です"),
    ("euc-jp", "鍵はドアの横に掛かっています。"),
    ("cp949", "열쇠는 문 옆에 걸려 있습니다."),
    ("cp1253", "Το κλειδί κρέμεται δίπλα στην πόρτα."),
    ("cp1255", "המפתח תלוי ליד הדלת."),
    ("cp1256", "المفتاح معلق بجانب الباب."),
    ("cp1254", "Anahtar kapının yanında asılıdır, lütfen geri getiriniz."),
    ("cp874", "กุญแจแขวนอยู่ข้างประตู"),
]


@pytest.mark.parametrize(("encoding", "text"), GUESSED)
def test_one_short_line_is_read_as_it_was_written(encoding: str, text: str) -> None:
    found = decode(text.encode(encoding), "f.txt")
    assert (found.text, found.replaced) == (text, 0)
    assert found.notes == (f"read as {found.encoding.upper()}, a guess: save it as UTF-8 to be sure",)


def test_c1_controls_never_come_of_typographic_marks() -> None:
    raw = b"The fee is \x80 25 \x96 \x93no refunds\x94 after the caf\xe9 closes. It\x92s final.\r\n"
    assert decode(raw, "f.txt").text == "The fee is € 25 – “no refunds” after the café closes. It’s final.\r\n"
    for label in ("iso-8859-1", "latin1", "ISO-8859-1 ", "us-ascii", "windows-1252"):
        assert decode(raw, "f.html", label).text == decode(raw, "f.txt").text


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
        (b"", "utf-32-le"),
        (b"", "utf-32-be"),
    ],
)
def test_unicode_in_all_widths(mark: bytes, encoding: str) -> None:
    text = "Åse holds the key – 鍵 – to the lighthouse.\r\n"
    assert decode(mark + text.encode(encoding), "f.txt", "gb2312" if mark else "").text == text


def test_single_bad_bytes_leave_a_utf8_text_as_it_is_and_are_counted() -> None:
    text = "Größe: 12 m. " * 20
    found = decode(text.encode() + b"\xff" + "Größe".encode() + b" \xc3", "f.txt")
    assert (found.text, found.encoding, found.replaced) == (f"{text}�Größe �", "utf-8", 2)
    assert found.missing == ("2 bytes that are no UTF-8, � in the text: save the file as UTF-8",)


def test_a_replacement_character_that_the_file_holds_is_no_bad_byte() -> None:
    assert decode("Größe � Öl".encode(), "f.txt").replaced == 0


def test_japanese_mail_with_escapes() -> None:
    assert decode("灯台の鍵".encode("iso2022_jp"), "f.txt").text == "灯台の鍵"


def test_a_declaration_is_followed_if_it_can_be() -> None:
    russian = "Причал закрыт"
    assert decode(russian.encode("cp866"), "f.html", "ibm866").text == russian
    assert decode(russian.encode(), "f.html", "windows-1251").text == russian, "saved as UTF-8 later"
    assert decode(russian.encode("cp1251"), "f.html", "utf-8").text == russian, "declared wrongly"
    assert decode(russian.encode("cp1251"), "f.html", "no-such-charset").text == russian
    assert decode(b"plain", "f.html", "rot13").text == "plain", "rot13 is no charset"
    assert decode("über".encode("cp1252"), "f.html", "utf-7").text == "über"


def test_a_declared_charset_keeps_what_it_can_read() -> None:
    found = decode("退货期限".encode("gb2312") + b"\xff", "f.html", "gb2312")
    assert (found.text, found.replaced) == ("退货期限�", 1)


@pytest.mark.parametrize(
    ("head", "charset"),
    [
        ('<meta charset="gb2312">', "gb2312"),
        ("<META CHARSET=Shift_JIS>", "Shift_JIS"),
        ("<meta charset = 'windows-1252' />", "windows-1252"),
        ("<meta http-equiv='Content-Type' content='text/html; charset=windows-1251'>", "windows-1251"),
        ("<meta http-equiv=Content-Type content=text/html;charset=koi8-r>", "koi8-r"),
        ('<meta content="text/html;\n charset=big5"\n http-equiv="content-type">', "big5"),
        ('<?xml version="1.0" encoding="ISO-8859-2"?><html>', "ISO-8859-2"),
        ("<?xml version='1.0' encoding='euc-jp'?>", "euc-jp"),
        ('<!-- <meta charset="koi8-r"> --><meta charset="big5">', "big5"),
        ('<meta charset="utf-16">', "utf-8"),
        ('<meta name="description" content="about charsets">', ""),
        ("<p>charset=big5</p>", ""),
        ("", ""),
    ],
)
def test_the_charset_that_a_page_declares(head: str, charset: str) -> None:
    assert declared_charset(f"<!DOCTYPE html>\n<head>{head}".encode() if "<?xml" not in head else head.encode()) == charset


def test_a_few_nuls_are_left_out_and_said() -> None:
    found = decode(b"2026-01-01 started\n\0\0\0\n2026-01-02 stopped\n", "log.txt")
    assert (found.text, found.dropped) == ("2026-01-01 started\n\n2026-01-02 stopped\n", 3)
    assert found.notes == ("3 NUL characters left out",)


@pytest.mark.parametrize(
    "data", [b"a\0b", b"PK\x03\x04 renamed", b"%PDF-1.7\n", b"\x89PNG\r\n", bytes(range(256)) * 4, b"\xd0\xcf\x11\xe0 old"]
)
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="^f.txt: binary data"):
        decode(data, "f.txt")


def test_bytes_that_no_encoding_has_are_counted() -> None:
    found = decode(b"caf\xe9 \x81 closed", "f.txt", "windows-1252")
    assert (found.text, found.encoding, found.replaced) == ("café � closed", "cp1252", 1)


def test_a_late_first_letter_decides_in_a_long_file() -> None:
    text = "key: value\n" * 50_000 + "Срок возврата товара\n"
    assert decode(text.encode("cp1251"), "f.txt").text == text
