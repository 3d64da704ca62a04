"""The texts of the splitting benchmark are cut, each within the bound."""

from __future__ import annotations

import pytest

from benchmarks.splitting import KINDS, seconds


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_cut_within_the_bound(kind: str) -> None:
    taken, longest = seconds(KINDS[kind] * 400)
    assert taken >= 0 and 300 < longest <= 700
