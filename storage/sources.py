"""Where ids and times come from, unless a test brings its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

EVENT_IDS_DRAWN = 256
"""Ids made of one draw of random bytes: a system call for each would cost as much as a row."""


def event_ids() -> Callable[[], str]:
    """A maker of ids: ``ev-`` and 16 hexadecimal digits, random, drawn by the page."""
    drawn: list[str] = []

    def next_id() -> str:
        if not drawn:
            digits = secrets.token_hex(8 * EVENT_IDS_DRAWN)
            drawn.extend(f"ev-{digits[at : at + 16]}" for at in range(0, len(digits), 16))
        return drawn.pop()

    return next_id


def utc_now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)
