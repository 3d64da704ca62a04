"""Recognises what chat clients ask about a conversation itself: its title, tags, follow-up questions, search queries.

Such a request is no question about documents, so it must not go through retrieval. It is known by its build, not by one client's
words: it wraps a transcript, or follows a conversation, and it shows the JSON object that it wants back or asks in the imperative
for a title (tags, …) of the conversation. Most are answered by a rule; a summary is the base's. Pure text.

Looked at: the prompts of Open WebUI, LibreChat, LobeChat, NextChat and Chatbox; those of LangChain and LlamaIndex that condense.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lorag.pipeline.records import Message

TITLE_WORDS, TITLE_CHARS = 6, 60
INSTRUCTION_CHARS = 8000
"""Of instructions that are read; a longer system message is a persona or a knowledge base, no side task."""


class Task(StrEnum):
    """What is asked about a conversation."""

    STANDALONE = "standalone question"
    FOLLOW_UPS = "follow-ups"
    TAGS = "tags"
    TITLE = "title"
    QUERIES = "queries"
    COMPLETION = "completion"
    PICTURE = "picture"
    EMOJI = "emoji"
    TOOLS = "tools"
    MERGE = "merge"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class SideTask:
    """`reply` is the rule's answer; None if the base has to write it."""

    task: Task
    reply: str | None


_KEYS = {
    "title": Task.TITLE,
    "tags": Task.TAGS,
    "follow_ups": Task.FOLLOW_UPS,
    "followups": Task.FOLLOW_UPS,
    "follow_up_questions": Task.FOLLOW_UPS,
    "queries": Task.QUERIES,
    "text": Task.COMPLETION,
    "prompt": Task.PICTURE,
    "tool_calls": Task.TOOLS,
}
"""Names in the JSON object that a prompt shows. They are the same in translated prompts."""
_SHOWN_KEY = re.compile(r'\{\s*"(\w+)"\s*:')

_ASK = (
    r"(?:generate|create|write|give|provide|suggest|propose|produce|come up with|make|return|choose|pick|find|think of|devise|"
    r"analy[sz]e|determine|craft|output|respond with|reply with|list|add|assign)"
)
_TALK = r"(?:conversation|chat|discussion|dialogue?|exchange|thread|transcript|messages?)"
_ASKED: tuple[tuple[Task, re.Pattern[str]], ...] = tuple(
    (task, re.compile(pattern, re.IGNORECASE | re.DOTALL))
    for task, pattern in (
        (Task.STANDALONE, r"\b(?:rephrase|rewrite|reformulate|condense)\b.{0,120}\bstand-?alone\b"),
        (Task.FOLLOW_UPS, rf"\b{_ASK}\b.{{0,80}}\bfollow[- ]?ups?\b.{{0,160}}\b{_TALK}\b"),
        (Task.TAGS, rf"\b{_ASK}\b.{{0,60}}\b(?:tags?|keywords|labels)\b.{{0,120}}\b{_TALK}\b"),
        (Task.TITLE, rf"\b{_ASK}\b.{{0,160}}\btitles?\b.{{0,160}}\b{_TALK}\b"),
        (Task.TITLE, rf"\b{_ASK}\b.{{0,40}}\b{_TALK}\b.{{0,160}}\btitle\b"),
        (Task.TITLE, rf"\b(?:give|choose|find)\b (?:this|the|our) {_TALK} a (?:short |concise |brief )?(?:name|heading)\b"),
        (Task.TITLE, rf"\b(?:name|entitle) (?:this|the|our) {_TALK}\b"),
        (Task.QUERIES, rf"\b{_ASK}\b.{{0,120}}\bquer(?:y|ies)\b.{{0,160}}\b{_TALK}\b"),
        (Task.SUMMARY, rf"\bsummari[sz]e\b.{{0,30}}\b{_TALK}\b"),
        (Task.SUMMARY, rf"\b{_ASK}\b.{{0,60}}\bsummary\b.{{0,60}}\b{_TALK}\b"),
    )
)
_EMOJI = (re.compile(r"\bfitting emoji\b", re.IGNORECASE), re.compile(r"^message:[ \t]*`{3}", re.IGNORECASE | re.MULTILINE))
_MERGE = re.compile(r"\bset of responses from (?:various|several|different) models\b", re.IGNORECASE)

# Each is linear in the length of a text: a run that two parts could share is bounded.
_TAGGED = re.compile(
    r"<([a-z_ ]{0,20}(?:history|conversation|transcript|dialogue|messages))>(.*?)(?:</\1>|\Z)", re.IGNORECASE | re.DOTALL
)
_SPEAKER = re.compile(r"^[ \t*#>`-]{0,16}<?(user|human|assistant|ai|bot|model)>?[ \t]*(?::|$)", re.IGNORECASE | re.MULTILINE)
_HEADED = re.compile(
    r"^[# \t]{0,8}(?:here(?:'s| is) )?(?:the )?(?:current )?(?:conversation|chat history|chat|transcript)\b"
    r"[^\n:]{0,20}:[ \t]*$(.*)",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)
_FOLLOWING = re.compile(
    r"^<?follow[- ]?up (?:input|question|message)>?[ \t]{0,4}:?[ \t]{0,4}\n?(.+?)(?:\n[ \t\n]{0,4}<?stand-?alone question|\Z)",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)


def side_task(messages: Sequence[Message]) -> SideTask | None:
    """The side task that `messages` are, or None for a conversation. They end with a message of the user."""
    *earlier, last = messages
    if all(pattern.search(last.content) for pattern in _EMOJI):
        return SideTask(Task.EMOJI, "💬")
    if _MERGE.search(last.content):
        return SideTask(Task.MERGE, None)
    transcript, instructions = _split(last.content)
    if transcript is not None:
        return _answered(_task(instructions), instructions, transcript, last.content)
    if any(message.role == "assistant" for message in earlier):
        begun = last.content.strip()
        task = _imperative(begun)
        return _answered(task, begun, _spoken(earlier), begun)
    return _by_system(earlier, last.content)


def _by_system(earlier: Sequence[Message], content: str) -> SideTask | None:
    """Instructions in the system message, and the transcript alone as the only message of the user."""
    system = "\n".join(message.content for message in earlier if message.role == "system")
    if any(message.role == "user" for message in earlier) or not system or len(system) > INSTRUCTION_CHARS:
        return None
    task = _task(system)
    if task is Task.TOOLS or (task is not None and len(_SPEAKER.findall(content)) >= 2):
        return _answered(task, system, content, content)
    return None


def _task(instructions: str) -> Task | None:
    instructions = instructions[:INSTRUCTION_CHARS]
    shown = (_KEYS.get(key.lower()) for key in _SHOWN_KEY.findall(instructions))
    by_key = next((task for task in shown if task is not None), None)
    return by_key or next((task for task, pattern in _ASKED if pattern.search(instructions)), None)


def _imperative(text: str) -> Task | None:
    """The task if the text begins with the request for it: a question that only mentions a title is none."""
    begins = re.match(rf"(?:please |now |can you |could you )*(?:{_ASK}|summari[sz]e|name|based on)\b", text, re.IGNORECASE)
    return next((task for task, pattern in _ASKED if pattern.search(text[:400])), None) if begins else None


def _split(content: str) -> tuple[str | None, str]:
    """The transcript that a message wraps (None: it wraps none), and the instructions around it."""
    for pattern, group in ((_TAGGED, 2), (_HEADED, 1)):
        if found := pattern.search(content):
            return found[group], content[: found.start()] + content[found.end() :]
    speakers = list(_SPEAKER.finditer(content))
    if len(speakers) >= 2 and speakers[0].start() > 0:
        return content[speakers[0].start() :], content[: speakers[0].start()]
    return None, content


def _spoken(messages: Sequence[Message]) -> str:
    return "\n".join(f"{each.role}: {' '.join(each.content.split())}" for each in messages if each.role in ("user", "assistant"))


def _answered(task: Task | None, instructions: str, transcript: str, whole: str) -> SideTask | None:
    if task is None:
        return None
    asked = _said_by_user(transcript)
    match task:
        case Task.TITLE:
            return SideTask(task, _as(instructions, "title", _title(asked[0] if asked else transcript)))
        case Task.TAGS:
            return SideTask(task, _as(instructions, "tags", ["General"]))
        case Task.FOLLOW_UPS:
            return SideTask(task, _as(instructions, "follow_ups", []))
        case Task.QUERIES:
            return SideTask(task, _as(instructions, "queries", asked[-1:]))
        case Task.COMPLETION:
            return SideTask(task, _as(instructions, "text", ""))
        case Task.PICTURE:
            return SideTask(task, _as(instructions, "prompt", asked[-1] if asked else ""))
        case Task.TOOLS:
            return SideTask(task, '{"tool_calls": []}')
        case Task.STANDALONE:
            found = _FOLLOWING.search(whole)
            return SideTask(task, " ".join(found[1].split())) if found else None
    return SideTask(task, None)


def _as(instructions: str, key: str, value: str | list[str]) -> str:
    """The value under the key that the prompt shows, or as plain text if it shows no JSON."""
    shown = next((each for each in _SHOWN_KEY.findall(instructions) if each.lower() in _KEYS), None)
    if shown or re.search(r"\bJSON\b", instructions):
        return json.dumps({shown or key: value}, ensure_ascii=False)
    return value if isinstance(value, str) else "\n".join(value)


def _said_by_user(transcript: str) -> list[str]:
    """What the user said, one line a turn."""
    speakers = list(_SPEAKER.finditer(transcript))
    ends = [*(found.start() for found in speakers[1:]), len(transcript)]
    turns = [
        " ".join(re.sub(r"</\w+>|`{3}|\"{3}", " ", transcript[found.end() : end]).split())
        for found, end in zip(speakers, ends, strict=False)
        if found[1].lower() in ("user", "human")
    ]
    return [turn for turn in turns if turn]


def _title(question: str) -> str:
    """The first words of a question."""
    words = re.sub(r"[`\"<>{}#*]+", " ", question).split()[:TITLE_WORDS]
    return " ".join(words)[:TITLE_CHARS].strip(" ?!.,;:-") or "Conversation"


def question_in(content: str) -> str | None:
    """The question of a message in which a client has wrapped passages of its own search, or None for a plain question.

    Open WebUI does so with `<context>…</context>` before the question, or with the question in `<user_query>…</user_query>`.
    """
    _, opened, rest = content.rpartition("<user_query>")
    question, closed, _ = rest.partition("</user_query>")
    if not (opened and closed):
        before, closed, question = content.rpartition("</context>")
        opened = "<context>" if "<context>" in before else ""
    return (question.strip() or None) if opened and closed else None
