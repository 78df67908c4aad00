"""From one verb in the hub to the surfaces callers see: blocking, awaitable, bound to a session.

A verb is written once, as a method of its group. Each surface is a one-line binding of it with the
same parameters; ``OPERATIONS`` is the table of them all.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ..errors import SessionNotActiveError
from ..runtime.errors import HubClosedError
from .clearing import ClearVerbs
from .health import HealthVerbs
from .metrics import MetricsVerbs
from .prompting import PromptVerbs

if TYPE_CHECKING:
    from ..session.live import LiveSession
    from .handle import Session
    from .manager import AsyncSessionManager, SessionManager

P = ParamSpec("P")
R = TypeVar("R")


class Verbs(ClearVerbs, PromptVerbs, HealthVerbs, MetricsVerbs):
    """All verbs of a runtime."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table of operations.

    :param lane: the mailbox lane it uses: ``work``, ``control``, or ``none`` for reads.
    :param role: who may call it over a control connection: ``read``, ``operate`` or ``admin``.
    :param idempotent: whether calling it again changes nothing.
    """

    name: str
    lane: str
    role: str
    idempotent: bool


OPERATIONS: dict[str, Operation] = {
    row.name: row
    for row in (
        Operation("create", "work", "operate", False),
        Operation("resume", "work", "operate", True),
        Operation("stop", "control", "operate", False),
        Operation("stop_with_cause", "control", "operate", False),
        Operation("request_stop_with_cause", "control", "operate", False),
        Operation("repair_session", "none", "admin", True),
        Operation("delete", "control", "admin", False),
        Operation("clear_conversation", "control", "admin", False),
        Operation("wait_for_finalizations", "none", "read", True),
        Operation("wait_for_prompt_drains", "none", "read", True),
        Operation("prompt", "work", "operate", False),
        Operation("prompt_with_opts", "work", "operate", False),
        Operation("prompt_network", "work", "operate", False),
        Operation("prompt_synthetic", "work", "operate", False),
        Operation("send_prompt", "work", "operate", False),
        Operation("steer_prompt", "control", "operate", False),
        Operation("interrupt_prompt", "control", "operate", False),
        Operation("cancel_prompt", "control", "operate", True),
        Operation("cancel_queued_prompt", "control", "operate", False),
        Operation("approve_permission", "control", "operate", False),
        Operation("request_permission", "control", "operate", False),
        Operation("is_prompting", "none", "read", True),
        Operation("input_queue_summary", "none", "read", True),
        Operation("get", "none", "read", True),
        Operation("list", "none", "read", True),
        Operation("list_all", "none", "read", True),
        Operation("status", "none", "read", True),
        Operation("events", "none", "read", True),
        Operation("history", "none", "read", True),
        Operation("transcript", "none", "read", True),
        Operation("usage", "none", "read", True),
        Operation("permission_log", "none", "read", True),
        Operation("hook_runs", "none", "read", True),
        Operation("crash_bundle", "none", "admin", True),
        Operation("home_status", "none", "read", True),
        Operation("get_session_health", "none", "read", True),
        Operation("list_session_health", "none", "read", True),
        Operation("touch_session_presence", "none", "operate", True),
        Operation("recover_session_health", "none", "admin", True),
        Operation("metrics", "none", "read", True),
    )
}


def closed() -> SessionNotActiveError:
    """What a call on a closed manager gets."""
    return SessionNotActiveError("the manager is closed")


def blocking(
    verb: Callable[Concatenate[Verbs, P], R],
) -> Callable[Concatenate[SessionManager, P], R]:
    """The verb for threads and greenlets: runs in the hub, waits here."""

    @functools.wraps(verb)
    def call(self: SessionManager, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result: R = self._hub.call(verb, self._verbs, *args, **kwargs)
        except HubClosedError:
            raise closed() from None
        return result

    return call


def blocking_session(
    verb: Callable[Concatenate[Verbs, P], LiveSession],
) -> Callable[Concatenate[SessionManager, P], Session]:
    """:func:`blocking` for a verb that yields a session: the caller gets its handle."""
    call = blocking(verb)

    @functools.wraps(verb)
    def open_handle(self: SessionManager, /, *args: P.args, **kwargs: P.kwargs) -> Session:
        return self._handle(call(self, *args, **kwargs))

    return open_handle


def awaitable(
    verb: Callable[Concatenate[Verbs, P], R],
) -> Callable[Concatenate[AsyncSessionManager, P], Awaitable[R]]:
    """The verb for asyncio: runs in the hub, the event loop goes on."""

    @functools.wraps(verb)
    async def call(self: AsyncSessionManager, /, *args: P.args, **kwargs: P.kwargs) -> R:
        manager = self._manager
        try:
            future = manager._hub.submit(verb, manager._verbs, *args, **kwargs)
        except HubClosedError:
            raise closed() from None
        result: R = await future
        return result

    return call


def awaitable_session(
    verb: Callable[Concatenate[Verbs, P], LiveSession],
) -> Callable[Concatenate[AsyncSessionManager, P], Awaitable[Session]]:
    """:func:`awaitable` for a verb that yields a session."""
    call = awaitable(verb)

    @functools.wraps(verb)
    async def open_handle(
        self: AsyncSessionManager, /, *args: P.args, **kwargs: P.kwargs
    ) -> Session:
        return self._manager._handle(await call(self, *args, **kwargs))

    return open_handle


def of_session(
    surface: Callable[Concatenate[Any, str, P], R],
) -> Callable[Concatenate[Session, P], R]:
    """A manager's verb bound to one session: the id is filled in."""

    @functools.wraps(surface)
    def call(self: Session, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return surface(self._manager, self.id, *args, **kwargs)

    return call
