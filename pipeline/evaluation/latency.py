"""The time of an answer, estimated from its words: free of noise, the same on every machine, and comparable item by item.

Seconds of a run depend on its batches and on what else the machine does. A model writes one token a step and reads a prompt in
parallel: `READ` words are read in the time in which one is written (measured on a CPU: 17 to 50). So the estimate, in words
written, is the reply's words and the prompt's over `READ`. Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from lorag.pipeline.evaluation.groups import Range
from lorag.pipeline.evaluation.scores import ScoreTable
from lorag.pipeline.records import Outcome, Response, StageRecord

LATENCY = "latency by words"
READ = 20


def with_latency(table: ScoreTable, responses: Mapping[str, Response]) -> ScoreTable:
    """The answers' table with the estimate for each item that was answered by a model, refusals included."""
    items = []
    for item in table.items:
        asked = [each for each in responses[item.id].trace.stages if each.stage == "synthesize" and each.prompt]
        if asked and item.outcome is not Outcome.FAILED:
            item = replace(item, values={**item.values, LATENCY: sum(map(_words, asked))})
        items.append(item)
    return replace(table, items=tuple(items), ranges={**table.ranges, LATENCY: Range(0.0, math.inf)})


def _words(record: StageRecord) -> float:
    read = sum(len(message.content.split()) for message in record.prompt)
    return len(record.reply.split()) + read / READ
