"""Examples for the OpenAPI document: plain data."""

from __future__ import annotations

from typing import Any

from fastapi.openapi.models import Example

CHAT_EXAMPLES: dict[str, Example] = {
    "question": {
        "summary": "A question to the chain",
        "value": {"model": "lorag", "messages": [{"role": "user", "content": "Who keeps the key?"}]},
    },
    "conversation": {
        "summary": "A question that needs its history, streamed",
        "value": {
            "model": "lorag",
            "stream": True,
            "messages": [
                {"role": "user", "content": "Who keeps the key?"},
                {"role": "assistant", "content": "The porter. [1]"},
                {"role": "user", "content": "And at night?"},
            ],
        },
    },
    "compare": {
        "summary": "The same without the rewriter's adapter, with the trace",
        "value": {
            "model": "lorag",
            "messages": [{"role": "user", "content": "Who keeps the key?"}],
            "lorag": {"adapters": {"rewriter": "none"}, "trace": True},
        },
    },
    "role": {
        "summary": "One role alone",
        "value": {"model": "lorag/rewriter", "messages": [{"role": "user", "content": "…the rewriter's own prompt…"}]},
    },
}

STREAM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "One event; `data` is a chat.completion.chunk as JSON, an error in its form, or at last [DONE]",
    "properties": {"data": {"type": "string"}},
    "required": ["data"],
}

STREAM_EXAMPLE = (
    'data: {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "The porter"}, '
    '"finish_reason": null}]}\n\ndata: [DONE]\n\n'
)

EMBEDDING_EXAMPLES: dict[str, Example] = {
    "passages": {
        "summary": "Two passages",
        "value": {"model": "lorag/embedder", "input": ["The porter keeps the key.", "Room 4"]},
    },
    "question": {
        "summary": "A question, as base64",
        "value": {
            "model": "lorag/embedder",
            "input": "Who keeps the key?",
            "encoding_format": "base64",
            "lorag": {"input_type": "query"},
        },
    },
}

FEEDBACK_EXAMPLES: dict[str, Example] = {
    "thumb": {"summary": "The answer was right", "value": {"id": "chatcmpl-0123456789abcdef0123456789abcdef", "rating": "up"}},
    "correction": {
        "summary": "The right answer, and the passage that holds it",
        "value": {
            "id": "chatcmpl-0123456789abcdef0123456789abcdef",
            "rating": "down",
            "reasons": ["incorrect"],
            "answer": "The deputy.",
            "right_passages": ["keys.md#3372ebd3"],
            "wrong_passages": ["ferry.md#90e52465"],
        },
    },
    "refusal": {
        "summary": "The documents do not say",
        "value": {"id": "chatcmpl-0123456789abcdef0123456789abcdef", "rating": "down", "not_in_documents": True},
    },
}

RETRIEVE_EXAMPLES: dict[str, Example] = {
    "default": {"summary": "As the settings say", "value": {"query": "Who keeps the key?"}},
    "dense": {"summary": "Ten passages by vectors alone", "value": {"query": "Who keeps the key?", "k": 10, "hybrid": False}},
}
