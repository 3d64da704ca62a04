"""A service without keys, and pages of other sites in a browser beside it."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from lorag.services.api.errors import ApiError
from lorag.services.api.origin import check_origin
from lorag.services.api.server import LOOPBACK

GOOD = [
    {"host": "127.0.0.1:8321"},
    {"host": "localhost"},
    {"host": "LOCALHOST:1"},
    {"host": "[::1]:8321"},
    {"host": "localhost:8321", "origin": "http://localhost:8321"},
    {"host": "localhost", "origin": "http://LOCALHOST"},
]
BAD = [
    {},
    {"host": ""},
    {"host": "evil.example"},
    {"host": "evil.example:8321", "origin": "http://evil.example:8321"},
    {"host": "localhost.evil.example"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "evil.example@127.0.0.2"},
    {"host": "[::1"},
    {"host": "localhost:8321", "origin": "https://evil.example"},
    {"host": "localhost:8321", "origin": "http://localhost:9999"},
    {"host": "localhost:8321", "origin": "http://localhost:8321.evil.example"},
    {"host": "localhost:8321", "origin": "null"},
    {"host": "localhost:8321", "origin": ""},
]


@pytest.mark.parametrize("headers", GOOD, ids=str)
def test_its_own_page_and_programs_are_let_in(headers: dict[str, str]) -> None:
    check_origin(Headers(headers), LOOPBACK)


@pytest.mark.parametrize("headers", BAD, ids=str)
def test_pages_of_others_are_not(headers: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        check_origin(Headers(headers), LOOPBACK)
    assert caught.value.status == 403
