"""Text of others on a terminal: nothing in it is a command to it (pure functions).

Terminals obey more than ESC: C1 controls (U+009B is CSI in one character), and what turns the order of a line around (U+202E) or hides in it.
All that Python calls not printable is written out: controls, format characters, line and paragraph separators, surrogates, unassigned ones.
"""

from __future__ import annotations

from typing import Any


def safe(text: Any) -> str:
    """One line, with everything that is not printable written out (\\n, \\x1b)."""
    return _written_out(str(text), keep="")


def safe_lines(text: Any) -> str:
    """The same with its lines kept."""
    return _written_out(str(text), keep="\n")


def safe_json(text: str) -> str:
    """JSON on one line, the same to whoever parses it: what is not printable becomes \\u… within its strings, line ends between tokens a space."""
    if text.isprintable():
        return text
    return "".join(_JSON_SPACE.get(char) or (char if char.isprintable() else _json_escaped(char)) for char in text)


_JSON_SPACE = {"\n": " ", "\r": " ", "\t": "\t"}


def _written_out(text: str, *, keep: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )


def _json_escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
