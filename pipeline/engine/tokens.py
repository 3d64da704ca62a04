"""Chat prompts to token ids, with what users and documents wrote always encoded as plain text.

A chat template is text with the messages pasted in. Encoding the whole would turn a `<|im_end|>` inside a document into the
real token, which ends a turn. It would turn an invocation sequence into one that switches an adapter on. So the template is
rendered around placeholders, its own pieces are encoded with special tokens, and the contents without.
"""

from __future__ import annotations

import functools
import itertools
import re
import threading
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from lorag.pipeline.engine.bases import tokenizer_place
from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.errors import BaseError, EngineError, InputError
from lorag.pipeline.records import Message

TEMPLATE_DATE = date(2024, 7, 26)
"""The day that templates are told. Some write today's into each prompt (Llama 3 does, and names this day if it knows none): a run
resumed tomorrow would train on other rows, and an adapter would be proved by other prompts than it was trained on."""

_CLOCK = "strftime_now"
"""The function by which templates ask for the time."""

_MARK = "\u2063lorag-{}\u2063"
_MARKS = re.compile("\u2063lorag-(\\d+)\u2063")


def load_tokens(base: str) -> ChatTokens:
    """The chat tokens of the base that settings name `base`, without its weights. Raises BaseError, EngineError."""
    from transformers import AutoTokenizer

    try:
        with quiet_libraries():
            tokenizer = AutoTokenizer.from_pretrained(tokenizer_place(base), trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BaseError(f"the tokenizer of base {base!r} does not load: {reason}") from error
    return ChatTokens(tokenizer)


class ChatTokens:
    """A tokenizer with its chat template. Thread-safe: a fast tokenizer keeps its treatment of special tokens as state, so each
    use takes the lock."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        if not getattr(tokenizer, "chat_template", None):
            raise EngineError(
                "the base's tokenizer has no chat template; use an instruction-tuned base, or add chat_template.jinja"
            )
        self._added_token_pattern = _added_token_pattern(tokenizer)
        self.end_ids = self._end_ids()

    def _end_ids(self) -> tuple[int, ...]:
        """Tokens that end a reply: what the template writes right after an assistant message, and the tokenizer's eos."""
        ends = [self._tokenizer.eos_token_id] if self._tokenizer.eos_token_id is not None else []
        after = self._pieces(("user", "assistant"), False)[-1]
        closing = self._special(after)
        # Not `all_special_tokens`: it lists the named ones only, and some families (Phi, Gemma 3) do not name the end of a turn.
        if closing and (added := self._tokenizer.added_tokens_decoder.get(closing[0])) is not None and added.special:
            ends.insert(0, closing[0])
        if not ends:
            raise EngineError("the base's chat template ends a turn with no special token and the tokenizer has no eos token")
        return tuple(dict.fromkeys(ends))

    @property
    def vocabulary(self) -> int:
        """Number of tokens, added ones included."""
        return len(self._tokenizer)

    @property
    def pad_id(self) -> int:
        pad = self._tokenizer.pad_token_id
        return int(pad if pad is not None else self.end_ids[0])

    @functools.lru_cache(maxsize=256)  # noqa: B019 - an engine keeps its tokens for life
    def _pieces(self, roles: tuple[str, ...], reply: bool) -> tuple[str, ...]:
        """The template's text before, between and after the contents of such messages. Raises InputError, EngineError."""
        from jinja2 import TemplateError

        chat = [{"role": role, "content": _MARK.format(n)} for n, role in enumerate(roles)]
        try:
            text = self._rendered(chat, reply)
        except (
            TemplateError
        ) as error:  # the template's own refusal: Gemma 2 accepts no system message, many only alternating roles
            raise InputError(
                f"the base's chat template takes no messages in the order {', '.join(roles)} ({error}); "
                "say what a system message says in the first user message, and let user and assistant alternate"
            ) from error
        parts = _MARKS.split(text)
        if parts[1::2] != [str(n) for n in range(len(roles))]:
            raise EngineError(
                f"the base's chat template does not keep the messages {roles} in order; use a base with an ordinary template"
            )
        return tuple(parts[0::2])

    def _rendered(self, chat: Sequence[Mapping[str, str]], reply: bool) -> str:
        template = str(self._tokenizer.get_chat_template())
        return str(
            self._tokenizer.apply_chat_template(
                chat,
                chat_template=f"{_told_the_day()}{template}" if _CLOCK in template else template,
                tokenize=False,
                add_generation_prompt=reply,
                enable_thinking=False,
            )
        )

    @property
    def template_date(self) -> str | None:
        """The day that the template may write into prompts, year first; None if it asks for none."""
        return TEMPLATE_DATE.isoformat() if _CLOCK in str(self._tokenizer.get_chat_template()) else None

    def _encode(self, text: str, as_text: bool) -> list[int]:
        if not text:
            return []
        with self._lock:
            return list(self._tokenizer(text, add_special_tokens=False, split_special_tokens=as_text).input_ids)

    def _special(self, text: str) -> list[int]:
        return self._encode(text, False)

    def plain(self, text: str) -> list[int]:
        """Token ids of `text`, with special and other added tokens in it encoded as ordinary text."""
        if self._added_token_pattern is None:
            return self._encode(text, True)
        cuts = [0, *(match.start() + 1 for match in self._added_token_pattern.finditer(text)), len(text)]
        return [id for start, end in itertools.pairwise(cuts) for id in self._encode(text[start:end], True)]

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the prompt, up to the start of the reply."""
        pieces = self._pieces(tuple(m.role for m in messages), True)
        ids = self._special(pieces[0])
        for message, piece in zip(messages, pieces[1:], strict=True):
            ids += self.plain(message.content) + self._special(piece)
        return ids

    def opening(self) -> list[int]:
        """Token ids with which every prompt ends. They open a reply, and switch an activated adapter on.

        Raises EngineError if the template opens a reply with no special token of its own: ordinary text could imitate it.
        """
        before, after = self._pieces(("user",), False)[-1], self._pieces(("user",), True)[-1]
        ids = self._special(after.removeprefix(before)) if after.startswith(before) else []
        if not ids or ids[0] not in self._tokenizer.added_tokens_decoder or self._special(after)[-len(ids) :] != ids:
            raise EngineError(
                "the base's chat template opens a reply with no token of its own, so no adapter can be activated there; "
                "train without lora.activated"
            )
        return ids

    def reply(self, text: str) -> list[int]:
        """Token ids of a whole reply, end token included, as an adapter is trained to write it."""
        return [*self.plain(text), self.end_ids[0]]

    def text(self, ids: Sequence[int]) -> str:
        """Decode reply ids, without special tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _told_the_day() -> str:
    """A template's beginning after which `_CLOCK` answers with `TEMPLATE_DATE`; values that are functions cannot be passed in."""
    codes = {f"%-{code}": str(value) for code, value in (("d", TEMPLATE_DATE.day), ("m", TEMPLATE_DATE.month))}
    codes |= {f"%{code}": TEMPLATE_DATE.strftime(f"%{code}") for code in "aAbBdejmuwyYGVUWHIMSpfzZ"}
    replaced = "".join(f"|replace({code!r}, {value!r})" for code, value in codes.items())
    return f"{{%- macro {_CLOCK}(form) %}}{{{{ form{replaced} }}}}{{%- endmacro %}}{{{{ '' }}}}"


def _added_token_pattern(tokenizer: Any) -> re.Pattern[str] | None:
    """A pattern for the start of each added token that is not special, such as `<think>`; None if there are none.

    With `split_special_tokens` a tokenizer splits only those marked as special, so the text is cut within the others. Runs of
    white space, added tokens in some families, control nothing and stay whole.
    """
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if not token.special]
    words = [text for text in added if len(text) > 1 and not text.isspace()]
    if not words:
        return None
    first = "".join(
        sorted({re.escape(text[0]) for text in words})
    )  # Gemma has 6,000 of them: most positions need no match of each
    return re.compile(f"(?=[{first}])(?=(?:{'|'.join(map(re.escape, words))}))")
