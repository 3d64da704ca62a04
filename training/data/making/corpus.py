"""The corpus as the row makers see it: passages by id, their groups and splits."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorag.training.data.formats.splitting import TRAIN
from lorag.training.data.making.grouping import Grouping
from lorag.training.data.making.records import Accepted
from lorag.training.data.negatives import near_duplicate
from lorag.training.data.rows import PassageRow


@dataclass(frozen=True, slots=True)
class Corpus:
    """`passages` by id, and their documents' groups."""

    passages: Mapping[str, PassageRow]
    grouping: Grouping

    def split_of(self, accepted: Accepted) -> str:
        return self.grouping.split_of(accepted.candidate.span.passage_id)

    def group_of(self, accepted: Accepted) -> str:
        return self.grouping.group_of(accepted.candidate.span.passage_id)

    def gold_of(self, accepted: Accepted) -> PassageRow:
        return self.passages[accepted.candidate.span.passage_id]

    def is_one_sided(self, accepted: Accepted) -> bool:
        """Whether all passages that answer it lie on its side of the split; of a training question others may lie elsewhere."""
        split = self.split_of(accepted)
        return split == TRAIN or all(self.grouping.split_of(name) == split for name in accepted.passage_ids)

    def shown_to(self, split: str, ranking: Sequence[str]) -> list[str]:
        """The passages of a ranking that a question of that split may show: in training none of a held-out document."""
        return [name for name in ranking if split != TRAIN or self.grouping.split_of(name) == TRAIN]

    def negatives(self, accepted: Accepted, count: int) -> tuple[str, ...]:
        """At most `count` passages that a search finds for the question and that do not answer it, the hardest first.

        None is a copy of a gold passage. A training question gets none of a held-out document.
        """
        gold = [self.passages[name].text for name in accepted.passage_ids]
        taken = {*accepted.passage_ids, *accepted.barred}
        free = [name for name in self.shown_to(self.split_of(accepted), accepted.ranking) if name not in taken]
        unlike = (name for name in free if not any(near_duplicate(self.passages[name].text, text) for text in gold))
        return tuple(itertools.islice(unlike, count))

    def positives(self, accepted: Accepted) -> tuple[str, ...]:
        """The passages that answer the question and lie on its side of the split, its own first."""
        split = self.split_of(accepted)
        return tuple(name for name in accepted.passage_ids if self.grouping.split_of(name) == split)
