"""The environment of commands that an agent runs through us: ours, without secrets (04 5.5). Pure.

Names are judged, never values (01 7.8).
"""

from __future__ import annotations

from collections.abc import Mapping

SECRET_WORDS = (
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "CREDENTIAL",
    "AUTH",
    "COOKIE",
    "SESSION",
)
"""A variable whose upper-cased name contains one of these is not passed on."""
SECRET_ENDING = "_KEY"


def is_secret(name: str) -> bool:
    """Whether a variable of that name may hold a secret."""
    upper = name.upper()
    return upper.endswith(SECRET_ENDING) or any(word in upper for word in SECRET_WORDS)


def filtered(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that hold no secrets by their names."""
    return {name: value for name, value in env.items() if name and not is_secret(name)}
