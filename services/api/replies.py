"""Replies of the model that are remembered: a greedy request is answered the same each time, so it is answered once.

A key holds the tenant, the adapter's version and the whole prompt with its passages, so nothing outlives a promotion or a changed
document, and no tenant can learn from the time it takes what another has asked.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Generation

Key = tuple[str, Generation | ChoiceRequest]
Reply = Completion | tuple[float, ...]


class Replies:
    """The newest `size` replies; 0 remembers nothing. Safe for several threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[Key, Reply] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Reply | None:
        with self._lock:
            reply = self._known.get(key)
            if reply is not None:
                self._known.move_to_end(key)
            return reply

    def put(self, key: Key, reply: Reply) -> None:
        with self._lock:
            self._known[key] = reply
            self._known.move_to_end(key)
            while len(self._known) > self._size:
                self._known.popitem(last=False)
