"""Compares short texts: the official SQuAD normalisation, exact match and token F1, and ROUGE.

Pure functions of strings. Callers decide which texts are compared, and what a missing text means.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WORD = re.compile(r"[^\W_]+")


def normalize_answer(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, single spaces: the official SQuAD evaluation's own
    (Rajpurkar et al. 2016)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(text: str, golds: Sequence[str]) -> float:
    """1.0 if `text` equals one of `golds` after normalisation, else 0.0."""
    return float(normalize_answer(text) in {normalize_answer(gold) for gold in golds})


def token_f1(text: str, golds: Sequence[str]) -> float:
    """F1 of the normalised tokens as bags, the best over `golds`. If one side has no tokens it is 1.0 only if both have none."""
    return max((_bag_f1(normalize_answer(text).split(), normalize_answer(gold).split()) for gold in golds), default=0.0)


def rouge_f1(kind: str, text: str, golds: Sequence[str]) -> float:
    """F-measure of `rouge1` or `rougeL` (Lin 2004) by rouge-score, without stemming, the best over `golds`.

    On ASCII text the words are rouge-score's own; other scripts keep their letters, which its tokenizer drops.
    """
    scorer = _rouge(kind)
    return max((float(scorer.score(gold, text)[kind].fmeasure) for gold in golds), default=0.0)


def word_order(text: str, golds: Sequence[str]) -> float | None:
    """The share of the words that `text` shares with a gold which stand in the gold's order: ROUGE-L over ROUGE-1, with the gold
    of the best ROUGE-1. 1.0 if all do, about 2/√n for n words in random order; None if no word is shared.
    """
    scorer = _rouge("rouge1", "rougeL")
    best = max((scorer.score(gold, text) for gold in golds), key=lambda each: float(each["rouge1"].fmeasure), default=None)
    if best is None or not best["rouge1"].fmeasure:
        return None
    return float(best["rougeL"].fmeasure / best["rouge1"].fmeasure)


def longest_shared_run(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest run of items in both sequences."""
    best, lengths = 0, [0] * (len(right) + 1)
    for item in left:
        lengths = [0, *(lengths[at] + 1 if item == other else 0 for at, other in enumerate(right))]
        best = max(best, *lengths)
    return best


def _bag_f1(tokens: Sequence[str], gold: Sequence[str]) -> float:
    if not tokens or not gold:
        return float(tokens == gold)
    shared = sum((Counter(tokens) & Counter(gold)).values())
    return 2 * shared / (len(tokens) + len(gold))


class _Words:
    """The tokenizer for rouge-score: lower-case runs of letters and digits of any script."""

    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.lower())


@cache
def _rouge(*kinds: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([*kinds], tokenizer=_Words())
