"""An engine on a server that holds base and adapters: vLLM with `--enable-lora`, or another LoRAG's `lorag serve`.

Problem: the model must read exactly what the contracts wrote, with special tokens in documents as plain text (design §7). The
judge needs the likelihood of whole labels. Chat routes give neither: they apply a template of their own, encode `<|im_end|>` in
a message as the token, and score nothing.
Choice: `POST /completions` with prompts of token ids, made here by the tokenizer that also trains and serves in process. So the
ids are the same. A label's probability comes from the same route: prompt and label as one prompt, `echo`, `logprobs` and
`max_tokens: 0` give each token's log-probability. Those of the label, end token included, are summed, as in
`LocalEngine.choice_probabilities`.
Rejected: `guided_choice` and the like (which label, not how likely), and `logprobs` of the first token (labels may share it).
A server that takes no token ids or echoes no log-probabilities (OpenAI's own, Ollama, llama.cpp) is refused with this reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from typing import Any, TypeVar

from lorag.pipeline.engine.completions_client import CompletionsClient
from lorag.pipeline.engine.likelihood import probabilities
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Finish, Generation
from lorag.pipeline.engine.tokens import ChatTokens
from lorag.pipeline.errors import AdapterError, EngineError, PromptTooLong
from lorag.pipeline.records import Message

Request = TypeVar("Request")
Result = TypeVar("Result")

# A server's defaults may come from the base's generation_config.json; none of them may change a reply.
_NEUTRAL_SAMPLING = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}


class RemoteEngine:
    """An `Engine` behind `client`. `connect` it before use and `close` it after.

    `base` is the server's model name of the bare base, `models` that of each adapter (the name it has here → the server's). At
    most `concurrency` requests of one call run at once.
    """

    def __init__(
        self, client: CompletionsClient, tokens: ChatTokens, *, base: str, models: Mapping[str, str], concurrency: int = 8
    ) -> None:
        self._client = client
        self.tokens = tokens
        self._base = base
        self._models = dict(models)
        self._concurrency = concurrency
        self.context: int | None = None

    @property
    def adapters(self) -> tuple[str, ...]:
        return tuple(self._models)

    @property
    def url(self) -> str:
        return self._client.url

    def connect(self) -> None:
        """Check that the server has every model that is needed, and read the context length if it reports one.

        Raises EngineError, AdapterError.
        """
        listed = self._client.get("/models", "the list of models")
        try:
            served = {str(entry["id"]): entry.get("max_model_len") for entry in listed["data"]}
        except (KeyError, TypeError, AttributeError):
            raise EngineError(
                f"{self.url}/models answers no list of models; check generation.base_url (it ends in /v1)"
            ) from None
        for adapter in (None, *self._models):
            if self._model(adapter) not in served:
                raise AdapterError(
                    f"{self.described(adapter)}: the server has no model of that name, it serves {', '.join(served) or 'none'}; "
                    "serve it under this name, or change generation.models"
                )
        lengths = [n for name in (self._base, *self._models.values()) if isinstance(n := served[name], int)]
        self.context = min(lengths, default=None)

    def close(self) -> None:
        self._client.close()

    def described(self, adapter: str | None) -> str:
        """The name of an adapter, or the bare base, in messages."""
        return f"{self._named(adapter)} at {self.url}"

    def _named(self, adapter: str | None) -> str:
        return f"{f'adapter {adapter}' if adapter else 'the bare base'} (model {self._model(adapter)!r})"

    def _model(self, adapter: str | None) -> str:
        if adapter is None:
            return self._base
        try:
            return self._models[adapter]
        except KeyError:
            raise AdapterError(f"adapter {adapter!r} is not served; served: {', '.join(self._models) or 'none'}") from None

    def _encode(self, messages: Sequence[Message], reserve: int) -> list[int]:
        ids = self.tokens.prompt(messages)
        if self.context is not None and len(ids) + reserve > self.context:
            raise PromptTooLong(
                f"prompt of {len(ids)} tokens and a reply of up to {reserve} do not fit the server's {self.context} tokens; "
                "shorten the question or history, or lower retrieval.k or chunking.max_chars",
                fits=max(0, self.context - reserve) / len(ids),
            )
        return ids

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        return self._each(self._complete, requests)

    def _complete(self, request: Generation) -> Completion:
        target = self._named(request.adapter)
        reply = self._client.post("/completions", self._body(request), target)
        (choice,) = self._choices(reply, 1, target)
        return self._completion(str(choice.get("text") or ""), choice.get("finish_reason"), reply.get("usage"), target)

    def _completion(self, text: str, finish: Any, usage: Any, target: str) -> Completion:
        try:
            return Completion(text.strip(), int(usage["prompt_tokens"]), int(usage["completion_tokens"]), Finish(finish))
        except (KeyError, ValueError, TypeError):
            problem = (
                f"ended a reply with finish_reason {finish!r} and usage {usage!r}; needed are stop or length, and token counts"
            )
            raise EngineError(f"{target} at {self.url} {problem}") from None

    def _body(self, request: Generation) -> dict[str, Any]:
        sampling = request.sampling
        return {
            "model": self._model(request.adapter),
            "prompt": self._encode(request.messages, request.max_tokens),
            "max_tokens": request.max_tokens,
            "temperature": max(sampling.temperature, 0.0),
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stop": list(request.stop),
            "stop_token_ids": list(self.tokens.end_ids),
            **_NEUTRAL_SAMPLING,
        }

    def stream(self, request: Generation) -> Generator[str, None, Completion]:
        target = self._named(request.adapter)
        body = {**self._body(request), "stream": True, "stream_options": {"include_usage": True}}
        text, shown, finish, usage = "", 0, None, None
        with closing(self._client.stream("/completions", body, target)) as events:
            for event in events:
                usage = event.get("usage") or usage
                for choice in event.get("choices") or ():
                    text += choice.get("text") or ""
                    finish = choice.get("finish_reason") or finish
                if len(stripped := text.strip()) > shown:
                    yield stripped[shown:]
                    shown = len(stripped)
        return self._completion(text, finish, usage, target)

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        scored = zip(requests, self.reply_logprobs(requests), strict=True)
        return [probabilities(row, relative=request.relative) for request, row in scored]

    def reply_logprobs(self, requests: Sequence[ChoiceRequest]) -> list[list[float]]:
        """Log-probability of each whole choice after its prompt, end token included, in nats. Raises as
        `choice_probabilities`."""
        return self._each(self._scores, requests)

    def _scores(self, request: ChoiceRequest) -> list[float]:
        target = self._named(request.adapter)
        replies = [self.tokens.reply(choice) for choice in request.choices]
        # One more: vLLM requires room for a token that it does not write.
        prompt = self._encode(request.messages, max(map(len, replies)) + 1)
        body = {
            "model": self._model(request.adapter),
            "prompt": [prompt + reply for reply in replies],
            "max_tokens": 0,
            "echo": True,
            "logprobs": 1,
            "temperature": 0.0,
            # An extension of `lorag serve`, a hint: tokens before this need no log-probabilities, and all prompts share them.
            "scored_from": len(prompt),
        }
        choices = self._choices(self._client.post("/completions", body, target), len(replies), target)
        return [self._score(choice, len(prompt), reply, target) for choice, reply in zip(choices, replies, strict=True)]

    def _score(self, choice: Mapping[str, Any], start: int, reply: Sequence[int], target: str) -> float:
        values = (choice.get("logprobs") or {}).get("token_logprobs") or []
        scored = values[start:]
        if len(values) != start + len(reply) or not all(isinstance(v, float | int) and math.isfinite(v) for v in scored):
            raise EngineError(
                f"{target} at {self.url} gives no log-probabilities of a prompt of token ids (`echo` with `logprobs`), which the "
                "judge and the proof of adapters need; use vLLM or `lorag serve`"
            )
        return math.fsum(scored)

    def _choices(self, reply: Any, count: int, target: str) -> list[Mapping[str, Any]]:
        """The choices of a reply in the order of its prompts."""
        try:
            choices = sorted(reply["choices"], key=lambda choice: int(choice["index"]))
        except (KeyError, TypeError, ValueError):
            choices = []
        if len(choices) != count or [choice["index"] for choice in choices] != list(range(count)):
            raise EngineError(f"{target} at {self.url} answered {len(choices)} completions to {count} prompts of token ids")
        return choices

    def _each(self, run: Callable[[Request], Result], requests: Sequence[Request]) -> list[Result]:
        """`run` on each request, several at once. The first error is raised, and requests that have not begun are dropped."""
        if len(requests) <= 1:
            return [run(request) for request in requests]
        pool = ThreadPoolExecutor(min(self._concurrency, len(requests)), thread_name_prefix="lorag-remote")
        try:
            # A context copy per thread: the caller's limits hold in each.
            return [done.result() for done in [pool.submit(copy_context().run, run, request) for request in requests]]
        finally:
            pool.shutdown(cancel_futures=True)
