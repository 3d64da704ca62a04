"""The languages of a corpus."""

from __future__ import annotations

import pytest

from lorag.pipeline.retrieval.languages import NAMES, languages

SENTENCES = {
    "English": "The harbour master keeps the key of the crane in room four.",
    "German": "Der Hafenmeister verwahrt den Schlüssel des Krans im Zimmer vier.",
    "French": "La clé de la grue est gardée au bureau du port, sous le comptoir.",
    "Spanish": "La llave de la grúa se guarda en la oficina del puerto.",
    "Polish": "Klucz do dźwigu znajduje się w biurze portu, na pierwszym piętrze.",
    "Turkish": "Vincin anahtarı liman ofisinde, birinci katta saklanır.",
    "Vietnamese": "Chìa khóa cần cẩu được giữ tại văn phòng cảng ở tầng một.",
    "Russian": "Ключ от крана хранится в конторе порта.",
    "Ukrainian": "Ключ від крана зберігається в конторі порту.",
    "Greek": "Το κλειδί του γερανού φυλάσσεται στο γραφείο του λιμανιού.",
    "Arabic": "رسوم الميناء خمسون دينارا في اليوم",
    "Persian": "کلید جرثقیل در دفتر بندر نگهداری می‌شود.",
    "Hebrew": "המפתח של העגורן נשמר במשרד הנמל.",
    "Hindi": "बन्दरगाह का शुल्क प्रतिदिन पचास रुपये है।",
    "Chinese": "港口费用为每天五十元，小船免费停泊。",
    "Japanese": "港湾使用料は一日五十円です。",
    "Korean": "항구 사용료는 하루 오십 원입니다.",
    "Thai": "ค่าธรรมเนียมท่าเรือวันละห้าสิบบาท",
    "Burmese": "ဆိပ်ကမ်းအခကြေးငွေ",
}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_sentence_is_told(name: str) -> None:
    (found,) = languages([SENTENCES[name]])
    assert (found.name, found.share) == (name, 1.0) and found.sample


def test_english_words_in_a_chinese_text_count_as_english() -> None:
    english = "the harbour master keeps the key of the crane in room four"
    found = languages([f"港口费用为每天五十元 {english} 小船免费停泊在这里"])
    assert [each.name for each in found] == ["English", "Chinese"]
    assert sum(each.share for each in found) == pytest.approx(1)


def test_what_is_less_than_a_tenth_is_not_named() -> None:
    assert [each.name for each in languages([SENTENCES["English"]] * 30 + [SENTENCES["German"]])] == ["English"]


@pytest.mark.parametrize(
    "text", ["", "😀🇩🇪👍🏽", "12.5 % | 2026-03-11 |", "https://h.example/a/b" * 9, "iVBORw0KGgo" * 90, "T-1"]
)
def test_what_holds_no_words_is_in_no_language(text: str) -> None:
    assert languages([text]) == ()


def test_names_differ_by_language() -> None:
    assert len(set(NAMES.values())) == len(NAMES) - 2  # Norwegian has three codes
