"""What looks like a secret in text and in the names of JSON members (03 3.3).

Rules, in this order and line by line; ``K`` is ``KEY_WORDS``, case does not matter, word boundaries
are ASCII's. A value that already holds ``[REDACTED]`` stays as it is.

====  ================================================  ====================================
rule  matches                                           becomes
====  ================================================  ====================================
1     ``authorization: v``, also ``proxy-`` and ``=``   v, to a comma, semicolon or line end
2     ``Bearer v``                                      ``Bearer [REDACTED]``
3     ``greenroom_claim_v``, case-sensitive             ``greenroom_claim_[REDACTED]``
4     ``"K": "v"``, either quote                        v only, the quotes stay
5     ``K = v``, ``K: v``                               v only, quotes around it stay
====  ================================================  ====================================
"""

from __future__ import annotations

import re

MARK = "[REDACTED]"
CLAIM_PREFIX = "greenroom_claim_"
KEY_WORDS = (
    "api[_-]?key|access[_-]?token|refresh[_-]?token|mcp[_-]?auth[_-]?token|claim[_-]?token|"
    "lease[_-]?token|bot[_-]?token|oauth[_-]?code|authorization[_-]?code|"
    "oauth[_-]?client[_-]?secret|client[_-]?secret|webhook[_-]?secret|code[_-]?verifier|"
    "pkce[_-]?verifier|secret[_-]?binding|token|secret|password|authorization"
)
EXEMPT_NAMES = frozenset({"token_present"})
"""JSON members that look secret by name and are not."""

STEMS = (
    *("token", "secret", "password", "authorization", "verifier", "bearer", CLAIM_PREFIX),
    *("api", "oauth"),
)
"""Whatever the rules match contains one of these, in lower case: the cheap look before a search."""

_FLAGS = re.IGNORECASE | re.ASCII
_HEADER = re.compile(r"\b(authorization[ \t]*[=:][ \t]*)([^\s,;][^\r\n,;]*)", _FLAGS)
_BEARER = re.compile(r"\b(?:bearer[ \t]+)+[a-z0-9._~+/=-]+", _FLAGS)
_CLAIM = re.compile(CLAIM_PREFIX + r"[A-Za-z0-9_-]+")
_QUOTED = re.compile(
    rf"""((["'])(?:{KEY_WORDS})\2[ \t]*(?:=>|[:=])[ \t]*(["']))"""
    r"""((?:(?!\3)[^\\\r\n]|\\.)+)(\3)""",
    _FLAGS,
)
_PAIR = re.compile(
    # Two colons are a path of some programming language, not a value.
    rf"\b((?:{KEY_WORDS})\b[ \t]*(?:=+>?(?![=>])|:=|:(?![:=]))[ \t]*)"
    r"""(?:(["'])((?:(?!\2)[^\\\r\n]|\\.)*)\2|((?:bearer[ \t]+)?[^\s,;]+))""",
    _FLAGS,
)
_KEY = re.compile(KEY_WORDS, _FLAGS)


def is_secret_name(name: object) -> bool:
    """Whether a JSON member of that name holds a secret."""
    if not isinstance(name, str) or _KEY.search(name) is None:
        return False
    return name.lower().replace("-", "_") not in EXEMPT_NAMES


def hide_values(text: str) -> str:
    """``text`` after rules 1-5, once."""
    if not has_stem(text):
        return text
    # Line by line, since one word in a long listing must not cost a search of all of it.
    return "\n".join([_hide_in_line(line) for line in text.split("\n")])


def has_stem(text: str) -> bool:
    """Whether any rule may match: the cheap look."""
    lowered = text.lower()
    return any(stem in lowered for stem in STEMS)


def _hide_in_line(line: str) -> str:
    if not has_stem(line):
        return line
    line = _HEADER.sub(_hide_header, line)
    line = _BEARER.sub(f"Bearer {MARK}", line)
    line = _CLAIM.sub(CLAIM_PREFIX + MARK, line)
    line = _QUOTED.sub(_hide_quoted, line)
    return _PAIR.sub(_hide_pair, line)


def _hide_header(found: re.Match[str]) -> str:
    return found[0] if MARK in found[2] else found[1] + MARK


def _hide_quoted(found: re.Match[str]) -> str:
    return found[0] if MARK in found[4] else found[1] + MARK + found[5]


def _hide_pair(found: re.Match[str]) -> str:
    quote, inside, bare = found[2], found[3], found[4]
    if bare is None:
        hidden = inside and MARK not in inside
        return f"{found[1]}{quote}{MARK}{quote}" if hidden else found[0]
    return found[0] if MARK in bare else found[1] + MARK
