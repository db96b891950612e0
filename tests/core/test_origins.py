"""The allow-list of origins, as a setting says it."""

from __future__ import annotations

import pytest

from core.origins import parse_origins


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", set()),
        (" , ", set()),
        ("https://a.example", {"https://a.example"}),
        (
            "https://a.example, http://localhost:3000\nhttps://b.example/",
            {"https://a.example", "http://localhost:3000", "https://b.example"},
        ),
        ("HTTPS://A.Example:443 http://a:80 http://a:443", {"https://a.example", "http://a", "http://a:443"}),
        ("http://[::1]:3000", {"http://[::1]:3000"}),
    ],
)
def test_origins_are_as_browsers_write_them(text: str, origins: set[str]) -> None:
    assert parse_origins(text) == origins


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "https://*",
        "https://a/*",
        "null",
        "a.example",
        "//a",
        "ftp://a",
        "file:///x",
        "https://",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://u@a",
        "https://a:x",
        "https://a:99999",
        "https://a https://b/c",
    ],
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_origins(text)
