"""The engine with an adapter as a langchain-core BaseChatModel. Text only; knows no role and no prompt of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from pipeline.engine.protocol import Engine, Generation, Sampling
from pipeline.errors import InputError
from pipeline.one_thread import in_one_thread
from pipeline.records import Message

_ROLES = {"human": "user", "ai": "assistant", "system": "system"}


class LoragChatModel(BaseChatModel):
    """The engine with one adapter, or the bare base where `adapter` is None. Takes text; tools and images are refused.

    `invoke` reports token usage; a stream cannot, since the engine counts nothing there.
    """

    engine: Engine
    adapter: str | None = None
    max_tokens: int = 96
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    @property
    def _llm_type(self) -> str:
        return "lorag"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {
            "adapter": self.adapter,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
        }

    def _request(self, messages: Sequence[BaseMessage]) -> Generation:
        sampling = Sampling(self.temperature, self.top_p, self.seed)
        return Generation(tuple(_message(message) for message in messages), self.adapter, self.max_tokens, sampling)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        (completion,) = self.engine.generate([self._request(messages)])
        text = _cut(completion.text, stop or ())
        usage = UsageMetadata(
            input_tokens=completion.prompt_tokens,
            output_tokens=completion.completion_tokens,
            total_tokens=completion.prompt_tokens + completion.completion_tokens,
        )
        finish = "stop" if text != completion.text else completion.finish.value
        message = AIMessage(content=text, usage_metadata=usage, response_metadata={"finish_reason": finish})
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        yield from self._pieces(messages, stop or ())

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with aclosing(in_one_thread(lambda: self._pieces(messages, stop or ()))) as chunks:
            async for chunk in chunks:
                yield chunk

    def _pieces(self, messages: Sequence[BaseMessage], stop: Sequence[str]) -> Generator[ChatGenerationChunk]:
        """Pieces up to the first stop text. A tail that may be the beginning of one is held back until that is known."""
        stream = self.engine.stream(self._request(messages))
        held = ""
        try:
            for piece in stream:
                held += piece
                if (cut := _cut(held, stop)) != held:
                    held = cut
                    break
                sure = len(held) - _possible_stop(held, stop)
                if sure:
                    yield _chunk(held[:sure])
                    held = held[sure:]
            yield _chunk(held, last=True)
        finally:
            if isinstance(stream, Generator):  # stops the engine's work at once
                stream.close()


def _chunk(text: str, *, last: bool = False) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text, chunk_position="last" if last else None))


def _message(message: BaseMessage) -> Message:
    role = _ROLES.get(message.type)
    if role is None:
        raise InputError(f"a message of type {message.type!r} cannot be sent; use system, user and AI messages")
    if not isinstance(message.content, str) and any(not isinstance(b, str) and b.get("type") != "text" for b in message.content):
        raise InputError("a message holds something other than text; this model reads text only")
    return Message(role, message.text)


def _cut(text: str, stop: Sequence[str]) -> str:
    """`text` up to the earliest stop text in it."""
    ends = [at for word in stop if word and (at := text.find(word)) >= 0]
    return text[: min(ends)] if ends else text


def _possible_stop(text: str, stop: Sequence[str]) -> int:
    """Length of the longest end of `text` with which a stop text could begin."""
    lengths = (size for word in stop for size in range(min(len(word) - 1, len(text)), 0, -1) if text.endswith(word[:size]))
    return max(lengths, default=0)
