"""A corpus whose questions a script can answer: what each tank of each harbour weighs and who keeps it."""

from __future__ import annotations

import re

from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.engine.scripted import ScriptedEngine

_HARBOURS = (
    "Alden Brask Corve Dunmar Elsen Farrow Gellan Hask Ilver Jorun Kelder Lorne Marrow Nessa Orvik Pellow Quell Rosen Sable Tarn"
)
_THINGS = "anchor buoy capstan davit engine flagstaff gangway hoist"
HARBOURS, THINGS = _HARBOURS.split(), _THINGS.split()


def documents() -> dict[str, str]:
    """File name → text: four things a document, each with a sentence of its own and one that says something else."""
    found = {}
    for at, harbour in enumerate(HARBOURS):
        lines = [f"# {harbour} stores", ""]
        for n, thing in enumerate(THINGS[at % 4 : at % 4 + 4]):
            lines += [
                f"## {thing.capitalize()}",
                "",
                f"The {thing} of {harbour} weighs {100 + 10 * at + n} kg and was painted at 0{n + 1}:{10 + at}. "
                f"Nobody but the harbour master of that town may move what stands there, and so it was agreed in {harbour}.",
                "",
            ]
        found[f"{harbour.lower()}.md"] = "\n".join(lines)
    return found


class Script:
    """Writes a question that names thing and harbour; a reader that finds the span again; a judge that knows what holds it."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.asked_of: dict[str, set[str]] = {}

    def reply(self, request: Generation) -> str:
        prompt = request.messages[-1].content
        if request.stage == "questioner":
            return self._ask(prompt)
        if request.stage == "follow-up":
            return "And the weight?" if "weight" in prompt.rpartition("Question:")[2] else "Answer: none"
        return self._read(prompt)

    def _ask(self, prompt: str) -> str:
        found = re.search(r"\[1\] (\w+) stores > (\w+)\n", prompt)
        span = re.search(r"^Answer: (.+)$", prompt, re.M)
        if found is None or span is None:
            return "this passage"
        word = {"k": "weight", ":": "paint time"}.get(next((c for c in span[1] if c in "k:"), ""), "rule")
        end = "" if "Search for" in prompt or "search query" in prompt else "?"
        question = f"which {word} does the {found[1]} {found[2].lower()} have{end}"
        self.answers[question] = span[1]
        self.asked_of.setdefault(question, set()).add(span[1])
        return question

    def _read(self, prompt: str) -> str:
        asked = re.search(r"^Question: (.+)$", prompt, re.M)
        answer = self.answers.get(asked[1] if asked else "", "")
        for number, text in re.findall(r"^\[(\d+)\] .*\n((?:.+\n)+)", prompt, re.M):
            if answer and answer in text:
                return f"{answer} [{number}]"
        return "The passages do not say."

    def score(self, request: ChoiceRequest) -> list[float]:
        prompt = request.messages[-1].content
        if request.stage == "questioner":
            span = re.search(r"^Answer: (.+)$", prompt, re.M)
            return [0.01 if span and span[1] in self.asked_of.get(choice, ()) else 0.001 for choice in request.choices]
        asked = re.search(r"^Question: (.+)$", prompt, re.M)
        answer = self.answers.get(asked[1] if asked else "", "\0")
        holds = answer in prompt.split("Question:")[0]
        best = {"answerable": "answerable" if holds else "unanswerable", "supported": "supported" if holds else "unsupported"}
        wanted = best.get(request.choices[0], "3" if holds else "1")
        return [0.9 if choice == wanted else 0.1 for choice in request.choices]


def scripted() -> ScriptedEngine:
    script = Script()
    return ScriptedEngine(script.reply, scorer=script.score)
