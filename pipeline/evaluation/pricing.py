"""One score that prices silence against error: right +1, silent 0, wrong −1 (the truthfulness of CRAG, Yang et al. 2024).

Always refusing reaches `silent` (0). A system is worth asking if it is above that. A question that no document answers can at
best be passed over, so refusing it is silence too.
"""

from __future__ import annotations

from dataclasses import dataclass

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.groups import Range


@dataclass(frozen=True, slots=True)
class Prices:
    """What a right answer, a refusal and a wrong answer are worth. Raises InputError unless right > silent > wrong."""

    right: float = 1.0
    silent: float = 0.0
    wrong: float = -1.0

    def __post_init__(self) -> None:
        if not self.right > self.silent > self.wrong:
            raise InputError(
                f"prices right {self.right:g}, silent {self.silent:g}, wrong {self.wrong:g}: a right answer must be worth more "
                "than silence, and silence more than a wrong one"
            )

    @property
    def range(self) -> Range:
        """The least and the greatest price."""
        return Range(self.wrong, self.right)

    def of(self, *, right: bool, refused: bool) -> float:
        if refused:
            return self.silent
        return self.right if right else self.wrong


PLAIN_PRICES = Prices()
