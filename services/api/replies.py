"""A cache of the model's replies: a greedy request always has the same reply, so it is generated once.

A key holds the tenant, the adapter's version and the whole prompt with its passages. So no reply outlives a promotion or a
changed document, and no tenant can learn from response times what another has asked.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Generation

Key = tuple[str, Generation | ChoiceRequest]
Reply = Completion | tuple[float, ...]


class ReplyCache:
    """The `size` most recently used replies; 0 switches the cache off. Safe for several threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._replies: OrderedDict[Key, Reply] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Reply | None:
        with self._lock:
            reply = self._replies.get(key)
            if reply is not None:
                self._replies.move_to_end(key)
            return reply

    def put(self, key: Key, reply: Reply) -> None:
        with self._lock:
            self._replies[key] = reply
            self._replies.move_to_end(key)
            while len(self._replies) > self._size:
                self._replies.popitem(last=False)
