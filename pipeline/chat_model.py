"""The engine with an adapter as a langchain-core BaseChatModel. Text only; knows no role and no prompt of ours."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from lorag.pipeline.engine.protocol import Completion, Engine, Generation, Sampling
from lorag.pipeline.errors import InputError
from lorag.pipeline.one_thread import in_one_thread
from lorag.pipeline.records import Message

BASE_MODEL = "base"
"""What `model` calls the bare base."""

_ROLES = {"human": "user", "ai": "assistant", "system": "system"}
_OPTIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "max_tokens": (lambda value: isinstance(value, int) and value >= 1, "a whole number from 1"),
    "temperature": (lambda value: 0 <= value < math.inf, "a number from 0"),
    "top_p": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "seed": (lambda value: isinstance(value, int) and 0 <= value < 1 << 63, "a whole number from 0"),
}
"""Options of a call, each with its check and its allowed values."""


class LoragChatModel(BaseChatModel):
    """The engine with one adapter, or the bare base if `adapter` is None. Takes text; tools and images are refused.

    `bind` and calls may set `stop`, `max_tokens`, `temperature`, `top_p`, `seed` and `model`: the name of a resident adapter,
    or `base`. Any other option is refused. Constructor settings that only a remote model needs, such as `timeout`, have no
    effect. A reply and the last chunk of a stream report the tokens used, those of a cut-off stop text included.
    """

    engine: Engine
    adapter: str | None = None
    max_tokens: int = 96
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: list[str] | None = None

    @property
    def model_name(self) -> str:
        """The adapter that answers, or `base`."""
        return self.adapter or BASE_MODEL

    @property
    def _llm_type(self) -> str:
        return "lorag"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"adapter": self.adapter, "stop": self.stop, **{name: getattr(self, name) for name in _OPTIONS}}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        found = super()._get_ls_params(stop=self.stop if stop is None else stop, **kwargs)
        return LangSmithParams(**{**found, "ls_provider": self._llm_type})

    def _request(self, messages: Sequence[BaseMessage], stop: Sequence[str] | None, options: Mapping[str, Any]) -> Generation:
        if unknown := sorted(options.keys() - {"model", *_OPTIONS}):
            raise InputError(f"this model takes no option {unknown[0]!r}; known: stop, model, {', '.join(_OPTIONS)}")
        values = {name: options[name] if options.get(name) is not None else getattr(self, name) for name in _OPTIONS}
        for name, value in values.items():
            right, allowed = _OPTIONS[name]
            if isinstance(value, bool) or not isinstance(value, int | float) or not right(value):
                raise InputError(f"{name} is {value!r}; it must be {allowed}")
        model = options.get("model") or self.model_name
        return Generation(
            tuple(_message(message) for message in messages),
            None if model == BASE_MODEL else str(model),
            values["max_tokens"],
            Sampling(values["temperature"], values["top_p"], values["seed"]),
            tuple((self.stop if stop is None else stop) or ()),
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, kwargs)
        (completion,) = self.engine.generate([request])
        message = AIMessage(content=completion.text, **_facts(request, completion))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        yield from self._chunks(self._request(messages, stop, kwargs))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        request = self._request(messages, stop, kwargs)
        async with aclosing(in_one_thread(lambda: self._chunks(request))) as chunks:
            async for chunk in chunks:
                yield chunk

    def _chunks(self, request: Generation) -> Generator[ChatGenerationChunk]:
        with closing(self.engine.stream(request)) as stream:
            while True:
                try:
                    piece = next(stream)
                except StopIteration as end:
                    completion = end.value
                    break
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last", **_facts(request, completion)))


def _facts(request: Generation, completion: Completion) -> dict[str, Any]:
    """A message's usage and response metadata."""
    usage = UsageMetadata(
        input_tokens=completion.prompt_tokens,
        output_tokens=completion.completion_tokens,
        total_tokens=completion.prompt_tokens + completion.completion_tokens,
    )
    about = {"model_name": request.adapter or BASE_MODEL, "finish_reason": completion.finish.value}
    return {"usage_metadata": usage, "response_metadata": about}


def _message(message: BaseMessage) -> Message:
    role = _ROLES.get(message.type)
    if role is None:
        raise InputError(f"a message of type {message.type!r} cannot be sent; use system, user and AI messages")
    if not isinstance(message.content, str) and any(not isinstance(b, str) and b.get("type") != "text" for b in message.content):
        raise InputError("a message holds something other than text; this model reads text only")
    return Message(role, message.text)
