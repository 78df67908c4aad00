"""OTP's restart arithmetic, for supervisors and for sessions: the window and the backoff. Pure.

A restart is pushed first, those older than the window are dropped, and then the rest is compared
with the limit, so that as many restarts as the limit says are allowed inside one window and the
next is not.
"""

from __future__ import annotations

from collections.abc import Sequence

DOUBLINGS_MAX = 64
"""Beyond so many the delay is at its limit for any backoff that makes sense."""


def within_window(moments: Sequence[float], now_s: float, window_s: float) -> tuple[float, ...]:
    """The moments that are not older than the window; its edge is inside it."""
    return tuple(moment for moment in moments if now_s - moment <= window_s)


def doubled_delay(backoff_s: float, backoff_max_s: float, count: int) -> float:
    """Seconds before the ``count``-th restart (from 1) within the window."""
    doubled: float = backoff_s * 2.0 ** min(count - 1, DOUBLINGS_MAX)
    return min(doubled, backoff_max_s)
