"""Tells a reply that declines from one that answers. Pure text, by rules: the same on every machine.

A reply declines if a clause of it declines and no other clause claims anything. So "The text does not specify, but rule 7 says
10:00 [1]" is an answer, and "I could not find it. Please ask the master." is none. What speaks of the passages or of the question
itself ("the passages do not say") declines, cited or not. What can also be said of a subject ("a pilot is not provided") declines
only if its clause cites no passage.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum, auto

from lorag.pipeline.contracts.citations import find_marks

_ABOUT = r"given|provided|available|above|retrieved|supplied|numbered|cited|shown|following|relevant"
_NOUN = r"passages?|texts?|context|documents?|source materials?|sources?|excerpts?|extracts?|search results|papers"
_SOURCE = (
    rf"(?:(?:^|\b(?:the|these|those|this|any|all|both|my|your|our)\s+)(?:(?:{_ABOUT})\s+)*(?:{_NOUN})"
    rf"(?:\s+(?:{_ABOUT}))*(?:\s*\d+)?|\bpassages?\s+(?:\d+|\x01)(?:\s*(?:,|and|to)\s*\d+)*|\b(?:{_ABOUT})\s+information"
    rf"|\bthe\s+information\s+(?:{_ABOUT}|i have)|\x01(?=\s))"
)
_LY = r"(?:\s+(?:\w+ly|even|seem to|appear to|itself|themselves|in fact))*"
_NOT = rf"(?:{_LY}\s+(?:(?:do|does|did|can|could|will|would)(?:\s+not|n?'t)|cannot|never|nowhere|fails? to|failed to)){_LY}"
_TELL = (
    "say|says|mention|mentions|provide|provides|contain|contains|state|states|specify|specifies|tell|tells|give|gives|include"
    "|includes|indicate|indicates|answer|answers|show|shows|reveal|reveals|address|addresses|explain|explains|describe|describes"
    "|discuss|discusses|cover|covers|offer|offers|list|lists|name|names|identify|clarify|report|note|record|define|disclose"
    "|detail|hold|holds|refer|make (?:it |this |that )?clear|have (?:any|enough|the|this|that|an|sufficient|information)|support"
    "|confirm"
)
_TOLD = (
    "mentioned|stated|given|specified|provided|found|said|included|covered|addressed|described|discussed|listed|contained"
    "|available|present|answered|shown|indicated|disclosed|recorded|reported|explained|named|clear|determined|established"
    "|inferred|derived|known|there|identified|confirmed|located"
)
_WITHIN = rf"(?:in|by|from|within|among|on|based on)\s+(?:any of\s+)?{_SOURCE}"
_ANSWER = r"(?:the|this|that|an?|your|my)\s+(?:\w+\s+){0,2}(?:answer|question|information|requested information|request)"
_INFORMATION = r"information|details?|context|data|evidence|facts"
_KNOW = "answer|say|tell|determine|know|confirm|help|establish|be (?:sure|certain)|give (?:an|you an) answer|provide"
_FIND = r"find|locate|see|identify"

_CANNOT = r"(?:(?:can|could|do|did|would)(?:\s+not|n?'t)|cannot)"
_UNABLE = r"i(?:'m|\s+am|\s+was)\s+(?:unable|not able)\s+to"
_WH = r"(?:what|when|where|who|how|why|which|whether)\b"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_JOINED = r"(?:(?:unfortunately|regrettably|sorry|no|but|and|so|however|as far as i can (?:see|tell))\b,?\s+)*"
_IT = (
    r"it|this|that|they|these|those|(?:this|that|the)\s+(?:topic|subject|point|matter|detail|question|answer|information"
    r"|issue|figure|fact|part)|such (?:information|details?)|(?:this|that|the)\s+kind\s+of\s+\w+|details?|information"
)
"""What speaks of the question itself and not of a subject of its own."""
_SEEN = "covered|listed|shown|addressed|discussed|described|recorded|reported|documented|indicated|answered"
_AUX_NOT = (
    r"(?:is|are|was|were|has|have|had|does|do|did|can|could|will|would)(?:\s+not|n?'t|nt)|cannot"
    r"|(?:is|are|was|were)\s+(?:nowhere|never)"
)
_ANYWHERE = (
    r"anywhere|at all|here|there|explicitly|directly|clearly|yet|(?:for|to|by)\s+(?:me|us)|as such|either|in (?:any )?detail"
)

_STRONG = _any(
    # "The passages do not say", "the context has no information", "the text is silent"
    rf"{_SOURCE}{_NOT}\s+(?:{_TELL})\b",
    rf"{_SOURCE}\s+(?:(?:is|are|was|were)(?:\s+not|n't)\s+(?:clear|specific|explicit)|(?:is|are)\s+silent|lacks?\b|omits?\b)",
    rf"{_SOURCE}\s+(?:say|mention|give|state|provide|contain|ha[sv]e?|tell|offer|include)s?\s+"
    rf"(?:nothing|no\s+(?:\w+\s+)?(?:mention|answer|{_INFORMATION}))",
    # "The text leaves this open", "beyond what the passages cover"
    rf"{_SOURCE}\s+leaves?\s+(?:it|this|that|the \w+)\s+open\b",
    rf"\b(?:outside|beyond|out of|not (?:within|in))\s+(?:the scope of\s+{_SOURCE}|what\s+{_SOURCE}{_LY}\s+(?:{_TELL}))",
    # "None of the passages", "neither passage", "no passage says"
    rf"\b(?:none|neither|nothing|not one|not any)(?:\s+(?:of|in|among))?\s+{_SOURCE}",
    r"\bneither\s+(?:passage|text|document|source)\b",
    rf"^(?:and |so |therefore |but |yet |still |however,? )*no\s+(?:passage|text|document|source|excerpt)s?{_LY}\s+(?:{_TELL})\b",
    # "It is not mentioned in the passages", "no mention of it in the text", "from the passages it is not possible"
    rf"(?:\bnot|n't|\bcannot|\bnowhere|\bnever)(?:\s+\w+){{0,4}}?\s+(?:{_TOLD})(?:\s+\w+){{0,6}}?\s+{_WITHIN}",
    rf"(?:\bnot|n't|\bnowhere|\bun(?:known|clear|specified|stated)|\bunanswerable)\s+{_WITHIN}",
    rf"\b(?:nothing|no\s+(?:mention|reference|answer|indication|{_INFORMATION}))(?:\s+\w+){{0,8}}?\s+{_WITHIN}",
    rf"{_WITHIN}\s*,?\s+(?:it|this|that|the \w+)\s+(?:(?:is|was)(?:\s+not|n't)\s+(?:{_TOLD}|possible)|cannot|is un\w+)\b",
    # "I cannot answer", "I could not find any mention", "I have no answer"
    rf"\bi\s+(?:really\s+)?{_CANNOT}{_LY}\s+(?:{_KNOW})\b",
    rf"\b{_UNABLE}\s+(?:{_KNOW}|{_FIND})\b",
    rf"\bi\s+{_CANNOT}\s+(?:{_FIND})\s+(?:(?:any|the|an|this|that|enough|such)\s+)?(?:\w+\s+)?"
    rf"(?:answer|mention|reference|{_INFORMATION})\b",
    rf"\bi\s+{_CANNOT}\s+(?:{_FIND})\s+(?:(?:anything|it|this|that)\b|{_WH})",
    rf"\bi\s+(?:do(?:\s+not|n't)\s+have|have\s+(?:no|not enough|insufficient|too little))\s+(?:\w+\s+){{0,2}}"
    rf"(?:answer|idea|access|way of knowing|{_INFORMATION})",
    # "That is not something I can find", "this is not something the passages cover"
    rf"(?:\bnot|n't)\s+something\s+(?:that\s+)?(?:(?:i|we)\s+can\s+(?:{_KNOW}|{_FIND})|{_SOURCE}{_LY}\s+(?:{_TELL}))\b",
    # "The answer is not given", "no answer can be found", "not enough information to answer"
    rf"{_ANSWER}\s+(?:\w+\s+){{0,3}}?(?:(?:is|was|are|were|has|have|can|could|do|does)(?:\s+not|n?'t)|cannot"
    r"|is un(?:known|clear|answerable)|remains un\w+|is missing)\b",
    r"\bno\s+(?:\w+\s+)?answer\s+(?:is|was|can|could|to (?:this|the|your) question|given|found|available|exists)\b",
    rf"\b(?:insufficient|not enough|not sufficient|too little|lack of|no|without)\s+(?:\w+\s+)?(?:{_INFORMATION})\s+"
    r"(?:is\s+|was\s+)?(?:\w+\s+)?to\s+(?:answer|say|tell|determine|know|be sure)\b",
)
"""About the passages, or about answering at all: these decline, cited or not."""

_WEAK = _any(
    # "The passages only mention the hours, not the fee"
    rf"{_SOURCE}\s+(?:only|just|merely)\s+(?:{_TELL})\b.*,\s*(?:but\s+|and\s+)?not\s+(?:the|a|an|its|their|what|when|where|who|how|why)\b",
    r"\b(?:is|are|was|were|be|been)(?:\s+not|n't)(?:\s+\w+ly)?\s+(?:mentioned|provided|stated|specified|indicated|disclosed"
    r"|addressed|discussed|described|answered|explained|known|said)\b",
    rf"^{_JOINED}(?:{_IT})\s+(?:{_AUX_NOT}){_LY}\s+(?:be\s+|been\s+|get\s+|seem(?:s|ed)?\s+(?:to\s+be\s+)?)?(?:{_TOLD})"
    rf"(?:\s+(?:{_ANYWHERE}))*$",
    rf"^{_JOINED}(?:{_IT})\s+(?:does|did|do)(?:\s+not|n't){_LY}\s+(?:appear|come up|get a mention)(?:\s+(?:{_ANYWHERE}))*$",
    rf"\bno\s+(?:passage\b|(?:further |specific |such |clear |explicit |direct )*(?:mention|indication|reference|answer"
    rf"|{_INFORMATION})(?:$|[.,]|\s+(?:about|on|of|regarding|for|in|is|was|are|given|provided|available|to|that|as to"
    r"|concerning|whether)\b))",
    r"\bnothing\s+(?:about|on|regarding|is (?:said|mentioned|stated|given)|that answers)\b",
    rf"\b(?:it|they)\s+(?:do|does)(?:\s+not|n't){_LY}\s+(?:say|mention|specify|state|tell)\b",
    # the handbook says nothing; "we are not told"
    r"^(?:the|this)\s+(?:\w+\s+)?(?:handbook|manual|guide|report|article|rules?|rule ?book|regulations?|bylaws?|policy|notice)\s+"
    r"(?:(?:do|does)(?:\s+not|n't)\s+(?:\w+ly\s+)?(?:say|mention|specify|state|tell)|(?:is|are)\s+silent)\b",
    r"\bwe\s+(?:are|were)(?:\s+not|n't)\s+(?:told|given)\b",
    rf"\bwe\s+(?:do(?:\s+not|n't)\s+have|have\s+no|lack)\s+(?:(?:any|enough|sufficient|such)\s+)?(?:answer|{_INFORMATION})\b",
    rf"\bwe\s+{_CANNOT}{_LY}\s+(?:{_KNOW}|{_FIND})\b",
    rf"\bi\s+{_CANNOT}{_LY}\s+(?:{_FIND}|have)\b",
    r"\bi(?:'m|\s+am)\s+not\s+(?:sure|certain)\b",
    r"\b(?:it|this|that)\s+(?:is|was|remains)\s+(?:not clear|unclear|unknown|not possible|impossible)\b",
    r"\b(?:is|are|was|were|remains?)\s+(?:unknown|unclear|unspecified|unstated|undisclosed|unanswerable)\s*[.!]?$",
    r"\b(?:cannot|can\s*not|can't|could not|couldn't)\s+be\s+(?:determined|answered|established|inferred|known|derived)\b",
)
"""Said of a subject itself ("a pilot is not provided"), these are answers: they decline only if the clause cites nothing."""

_BARE = _any(
    r"(?:(?:it |that |this )?is )?(?:not|un|in|no|none|can't|cannot)[- ]?\s*(?:explicitly |clearly )?"
    r"(?:stated|mentioned|specified|given|provided|available|found|known|answerable|answer|sure|clear|idea|say|tell|disclosed"
    rf"|(?:sufficient |enough )?(?:{_INFORMATION})|mention|comment|in the (?:{_NOUN})|answer this|answer found"
    r"|information found)",
    rf"not (?:explicitly |clearly )?(?:{_SEEN})(?:\s+(?:{_ANYWHERE}))*",
    rf"(?:is|are|was|were|has|have)(?:\s+not|n't|nt)\s+(?:been\s+)?(?:{_SEEN}|mentioned|stated|specified|given|provided|found|known)"
    rf"(?:\s+(?:{_ANYWHERE}))*",
    r"(?:does|do|did)(?:\s+not|n't)\s+(?:say|specify|mention|state)",
    r"n/?a|(?:i )?don't know|unknown|unanswerable|unclear|no idea",
)
"""The whole of a clause that declines."""

_YOU_MAY = r"you (?:may|can|could|should|might|would|will)(?: \w+)?"
_ONLY = r"(?:(?:do|does|only|just|merely|simply|all|also|mainly)\s+)*"
_IDLE = _any(
    r"as an? (?:ai|language model|assistant)$",
    r"(?:but |however,? |and |so |though |although |yet |instead,? )*(?:"
    r"(?:i'?m |i am |we are |we're )?(?:very |so |truly )?sorry\b.{0,40}$|(?:my )?apologies\b|i apologi[sz]e\b"
    r"|(?:unfortunately|regrettably)[,. ]*$|(?:please|try|ask|contact|check|consult|refer to|see the|let me know|feel free)\b"
    r"|if you\b|(?:could|can|would) you\b|for (?:more|further)\b|(?:more|further|additional) (?:information|context|details)\b"
    rf"|{_YOU_MAY} (?:want|wish|need|try|ask|contact|check|consult|find out|look|refer|call)"
    r"|i (?:suggest|recommend|would (?:need|suggest|recommend)|need|can help)\b"
    rf"|(?:they|it|{_SOURCE})\s+{_ONLY}(?:mention|describe|discuss|talk|cover|deal|focus|concern|refer|relate|(?:are|is) about"
    r"|(?:contain|provide) (?:only )?information|(?:only|just) (?:say|state|give|tell))"
    r"|(?:question|answer)\s*:?\s*$)",
)
"""Beginnings of clauses that claim nothing: regrets, advice, and what else the passages are about."""

_CLAUSES = _any(
    r"(?<=[.!?…])[\"'”’)*]*(?:\s+|(?=\x01))",
    r";",
    r"\s[–—-]\s",
    r",?\s+(?=(?:but|however|although|though|even though|whereas|nevertheless|nonetheless|except that|only that|therefore"
    r"|so (?:i|we|it|they|the|this|no))\b)",
)
_CONCESSION = re.compile(r"^(?:although|though|even though|while|whereas|since|because|as)\b[^,]*(,)\s", re.IGNORECASE)
_PRONOUN = re.compile(
    r"^((?:(?:but|and|however|so|though|although|therefore|yet),?\s+)*)(?:(?:they|it)\b"
    r"|(?<=\s)(?=(?:(?:do|does|did)(?:\s+not|n't)|never|fails? to|(?:say|give|make)s? no)\b))",
    re.IGNORECASE,
)
_NAMES_SOURCE = re.compile(_SOURCE, re.IGNORECASE)
_QUOTED = re.compile(r"[\"“][^\"“”]*[\"”]|(?<!\w)[‘'][^‘’']*[’'](?!\w)")
_IS = re.compile(r"\b(it|that|this|there|answer|question)'s(?=\s+(?:not|never|nowhere|un\w+|no)\b)", re.IGNORECASE)
_LEAD = re.compile(r"^\s*(?:(?:final )?answer|a|reply|response)\s*:\s*", re.IGNORECASE)


_IF = r"(?:if|unless|when|whenever|where|in case|once|until|should)"
_CONDITION = re.compile(
    rf"^(?:(?:but|and|so|however|therefore),?\s+)*{_IF}\b(?P<condition>[^,]*)(?:,\s*(?:then\s+)?|$)", re.IGNORECASE
)
_CONDITION_AFTER = re.compile(rf",?\s+{_IF}\s+(?P<condition>[^,]*)$", re.IGNORECASE)
"""A condition states nothing: "if the information is missing, call the office" says what to do then."""


class _Clause(Enum):
    DECLINES = auto()
    IDLE = auto()
    CLAIMS = auto()


def declines(reply: str) -> bool:
    """Whether `reply`, with its marks, declines to answer."""
    clauses = _clauses(_prepared(reply))
    found = [_kind(_named(clause, clauses[:at])) for at, clause in enumerate(clauses)]
    return _Clause.DECLINES in found and _Clause.CLAIMS not in found


def _prepared(reply: str) -> str:
    """One line with each mark as U+0001, straight apostrophes, without emphasis, and with quoted words blanked."""
    reply = reply.replace("\x01", " ")
    pieces, at = [], 0
    for mark in find_marks(reply):
        pieces += [reply[at : mark.start], " \x01 "]
        at = mark.end
    text = " ".join("".join([*pieces, reply[at:]]).split()).replace("’", "'")
    text = _LEAD.sub("", re.sub(r"[*_`#]+", "", text)).strip()
    text = _IS.sub(r"\1 is", text)
    whole = re.fullmatch(r"[\"“']([^\"“”]*)[\"”'](\s*[.\x01 ]*)", text)
    return whole.group(1) + whole.group(2) if whole else _QUOTED.sub('"x"', text)


def _clauses(text: str) -> list[str]:
    """The clauses that have words. A mark that stands alone goes to the clause before it."""
    found: list[str] = []
    for piece in _CLAUSES.split(text):
        concession = _CONCESSION.match(piece)
        parts = [piece[: concession.start(1)], piece[concession.end() :]] if concession else [piece]
        for part in parts:
            bare = part.strip(" ,\x01.")
            if bare and re.search(r"\w", bare):
                lead = re.match(r"[ ,.]*\x01[\s\x01]*", part)
                if lead and found:
                    found[-1] += " \x01"
                    part = part[lead.end() :]
                found.append(part.strip(" ,"))
            elif found and "\x01" in part:
                found[-1] += " \x01"
    return found


def _named(clause: str, before: Sequence[str]) -> str:
    """The clause with the passages in place of a first "they" or "it", if a clause before it names them."""
    return _PRONOUN.sub(r"\1the passages ", clause) if any(_NAMES_SOURCE.search(each) for each in before) else clause


def _without_condition(clause: str) -> str:
    """The clause without a condition that would decline if it stood alone."""
    for pattern in (_CONDITION, _CONDITION_AFTER):
        found = pattern.search(clause)
        if found and any(each.search(found["condition"].replace("\x01", " ")) for each in (_STRONG, _WEAK)):
            rest = clause[: found.start()] + clause[found.end() :]
            marked = "\x01" in found.group() and "\x01" not in rest
            return f"{rest} \x01" if marked else rest or clause
    return clause


def _kind(clause: str) -> _Clause:
    clause = _without_condition(clause)
    marked = "\x01" in clause
    words = clause.replace("\x01", " ").strip(" .!,:") if marked else clause.strip(" .!,:")
    words = " ".join(words.split())
    if _STRONG.search(words) or _STRONG.search(clause):
        return _Clause.DECLINES
    if not marked and (_BARE.fullmatch(words) or _WEAK.search(words)):
        return _Clause.DECLINES
    if clause.rstrip().endswith("?"):
        return _Clause.IDLE
    if _IDLE.match(words) and not (marked and any(letter.isdigit() for letter in words)):
        return _Clause.IDLE
    return _Clause.CLAIMS
