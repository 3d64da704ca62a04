"""Pure text code of each role: records → prompt messages, records → training target, reply → record.

The same functions make training rows and serve questions, so the two cannot drift apart. Nothing here knows a model, a
tokenizer or a file. Every prompt puts what roles share (conversation, passages, question) first and what is particular
to the role last: an activated adapter (design §7) can then reuse the base's cache of the shared part.

Each contract has two prompts. `tuned` is the short form an adapter is trained on; `plain` spells the task out, with an
example, for a base without an adapter: it is the base's best chance, and what an adapter is measured against.
"""

from lorag.pipeline.contracts.hashing import contract_hash
from lorag.pipeline.contracts.style import PromptStyle

__all__ = ["PromptStyle", "contract_hash"]
