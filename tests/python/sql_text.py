"""What the text of a dbt file says, without a database: its SQL apart from its comments, literals and Jinja."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PARTS = re.compile(r"\{#.*?#\}|--[^\n]*|/\*.*?\*/|\{\{.*?\}\}|\{%.*?%\}|'(?:[^']|'')*'", re.DOTALL)
_JINJA_STRING = re.compile(r"\"[^\"]*\"|'[^']*'")


def without_comments(text: str) -> str:
    """The text with its comments blanked, each line where it was."""
    return _PARTS.sub(lambda part: _blank(part[0]) if part[0][:2] in ("{#", "--", "/*") else part[0], text)


def sql_of(text: str, *, with_arguments: bool = True) -> str:
    """The text's SQL, each line where it was: comments, literals and Jinja are blanked.

    With ``with_arguments`` the strings in Jinja stay, as macros are handed SQL in them.
    """

    def keep(part: re.Match) -> str:
        is_jinja = part[0][:2] in ("{{", "{%")
        return _arguments(part[0]) if is_jinja and with_arguments else _blank(part[0])

    return _PARTS.sub(keep, text)


def line_of(text: str, position: int) -> int:
    """The line, from 1, of a position in a text."""
    return text.count("\n", 0, position) + 1


def joins(sql: str) -> Iterator[tuple[int, int]]:
    """The position of each select and how many joins it has, those of its subqueries not among them."""
    open_selects: list[tuple[int, int]] = [(0, 0)]
    for word in re.finditer(r"[()]|\b(?:select|join)\b", sql):
        position, count = open_selects[-1]
        if word[0] == "(":
            open_selects.append((word.start(), 0))
        elif word[0] == ")" and len(open_selects) > 1:
            yield open_selects.pop()
        elif word[0] == "select":
            yield position, count
            open_selects[-1] = (word.start(), 0)
        elif word[0] == "join":
            open_selects[-1] = (position, count + 1)
    yield from open_selects


def order_terms(sql: str) -> Iterator[tuple[int, str]]:
    """The position of each ``order by`` with each of its terms."""
    for found in re.finditer(r"\border\s+by\b", sql):
        end, depth = found.end(), 0
        while end < len(sql):
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            if depth < 0 or (depth == 0 and re.compile(r"\b(?:rows|range|limit)\b").match(sql, end)):
                break
            end += 1
        for term in re.split(r",(?![^()]*\))", sql[found.end() : end]):
            if term.strip():
                yield found.start(), " ".join(term.split())


def _arguments(jinja: str) -> str:
    """The strings in a piece of Jinja, where they stood; SQL literals in them are blanked."""
    kept, end = [], 0
    for string in _JINJA_STRING.finditer(jinja):
        content = string[0][1:-1]
        if string[0][0] == '"':
            content = _JINJA_STRING.sub(lambda literal: _blank(literal[0]), content)
        kept += [_blank(jinja[end : string.start()]), f" {content} "]
        end = string.end()
    return "".join([*kept, _blank(jinja[end:])])


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
