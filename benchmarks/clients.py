"""Drives a running service with clients' own packages, as they are by default: `python benchmarks/clients.py URL [--key KEY]`.

Run it in an environment that has what is to be tried (openai, langchain-openai, litellm, llama-index-llms-openai-like,
llama-index-embeddings-openai-like); it imports nothing of LoRAG. Prints a line a check and ends with 1 if one failed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

QUESTION = "Who keeps the key?"
Check = Callable[[str, str], str]


def openai_chat(url: str, key: str) -> str:
    """Plain, streamed with usage, a side task and a refusal."""
    openai = import_module("openai")
    client = openai.OpenAI(base_url=url, api_key=key)
    asked: Any = {"model": "lorag", "messages": [{"role": "user", "content": QUESTION}], "temperature": 1.0}
    reply = client.chat.completions.create(**asked)
    assert reply.lorag["ignored"] == ["temperature"], reply
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == reply.choices[0].message.content, text
    assert chunks[-1].usage.total_tokens > 0
    try:
        client.chat.completions.create(**asked, response_format={"type": "json_object"})
    except openai.BadRequestError as error:
        assert "is not supported" in error.message and error.param == "response_format", error
    else:
        raise AssertionError("JSON was not refused")
    return text


def openai_rest(url: str, key: str) -> str:
    """Models, embeddings as base64, a text completion."""
    client = import_module("openai").OpenAI(base_url=url, api_key=key)
    names = [model.id for model in client.models.list()]
    assert "lorag" in names
    vectors = client.embeddings.create(model="lorag/embedder", input=[f"text {n}" for n in range(300)]).data
    assert len(vectors) == 300
    assert client.completions.create(model="lorag", prompt=QUESTION).choices[0].text
    return f"{len(names)} models, {len(vectors[0].embedding)} dimensions"


def openai_without_v1(url: str, key: str) -> str:
    """A base URL without its end, as it is often typed."""
    client = import_module("openai").OpenAI(base_url=url.removesuffix("/v1"), api_key=key)
    return str(
        client.chat.completions.create(model="lorag", messages=[{"role": "user", "content": QUESTION}]).choices[0].message.content
    )


def langchain_chat(url: str, key: str) -> str:
    """Invoked and streamed."""
    model = import_module("langchain_openai").ChatOpenAI(model="lorag", base_url=url, api_key=key, temperature=0.7)
    said = str(model.invoke(QUESTION).content)
    assert "".join(str(chunk.content) for chunk in model.stream(QUESTION)) == said
    return said


def langchain_embeddings(url: str, key: str) -> str:
    """With text; token ids need a file that tiktoken fetches from the network."""
    kind = import_module("langchain_openai").OpenAIEmbeddings
    made = kind(model="lorag/embedder", base_url=url, api_key=key, check_embedding_ctx_length=False)
    return f"{len(made.embed_documents(['a key', 'a ferry']))} texts, {len(made.embed_query('key'))} dimensions"


def litellm_chat(url: str, key: str) -> str:
    """Chat, streamed, and embeddings through the provider `openai`."""
    litellm = import_module("litellm")
    asked: Any = {"model": "openai/lorag", "api_base": url, "api_key": key, "messages": [{"role": "user", "content": QUESTION}]}
    said = str(litellm.completion(**asked, temperature=0.3).choices[0].message.content)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(**asked, stream=True))
    assert streamed == said, streamed
    litellm.embedding(model="openai/lorag/embedder", input=["a key"], api_base=url, api_key=key)
    return said


def llama_index_chat(url: str, key: str) -> str:
    """Chat and completion, in its default form (a text prompt) and as a chat model."""
    kind = import_module("llama_index.llms.openai_like").OpenAILike
    message = import_module("llama_index.core.llms").ChatMessage(role="user", content=QUESTION)
    said = ""
    for chat in (False, True):
        model = kind(model="lorag", api_base=url, api_key=key, is_chat_model=chat)
        said = str(model.complete(QUESTION))
        assert said and model.chat([message]).message.content
        assert list(model.stream_chat([message]))[-1].message.content
    return said


def llama_index_embeddings(url: str, key: str) -> str:
    kind = import_module("llama_index.embeddings.openai_like").OpenAILikeEmbedding
    model = kind(model_name="lorag/embedder", api_base=url, api_key=key)
    return f"{len(model.get_text_embedding_batch(['a', 'b']))} texts, {len(model.get_query_embedding('key'))} dimensions"


CHECKS: tuple[Check, ...] = (
    openai_chat,
    openai_rest,
    openai_without_v1,
    langchain_chat,
    langchain_embeddings,
    litellm_chat,
    llama_index_chat,
    llama_index_embeddings,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="the service's address with /v1")
    parser.add_argument("--key", default="none")
    arguments = parser.parse_args()
    failed = 0
    for check in CHECKS:
        try:
            found = f"ok      {check(arguments.url, arguments.key)[:80]}"
        except ModuleNotFoundError as error:
            found = f"skipped {error.name} is not installed"
        except Exception as error:  # one client's failure must not hide the others'
            failed += 1
            found = f"FAILED  {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        print(f"{check.__name__:24}{found}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
