"""Pure text code of each role: records → prompt messages, records → training target, reply → record.

The same functions make training rows and serve questions, so both use the same prompts. Nothing here knows a model, a tokenizer
or a file. Every prompt begins with what roles share (conversation, passages, question) and ends with the role's own part. An
activated adapter (design §7) can then reuse the base's cache of the shared part.

Each contract has two prompts. `tuned` is the short form an adapter is trained on. `plain` explains the task, with an example,
to a base without an adapter, as the baseline that adapters are measured against.
"""

from lorag.pipeline.contracts.hashing import contract_hash
from lorag.pipeline.contracts.style import PromptStyle

__all__ = ["PromptStyle", "contract_hash"]
