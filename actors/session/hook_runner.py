"""Runs a host's hooks: gates are waited for, observations logged, none can hang a session (06 1).

Each hook runs in a greenlet of its own with a time limit. Observations that nobody waits for run
one after the other in the background, in the order of what they tell; a hook that can not keep up
loses the oldest of them and the loss is logged.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import gevent

from ...transport.agent.context import CallContext
from ..errors import HookDeniedError, HookFailedError
from ..model.hooks import (
    HOOK_POINTS,
    UNDENIABLE,
    HookEvent,
    HookKind,
    HookPayload,
    HookSet,
)

HOOKS_WAITING_MAX = 10_000
"""Observations that wait for a slow hook, per session."""

P = TypeVar("P", bound=HookPayload)


class HookRunner:
    """The hooks of a manager, for one session or for what comes before one.

    :param hooks: the host's.
    :param timeout: seconds a hook may take.
    """

    def __init__(self, hooks: HookSet, timeout: float, logger: logging.Logger) -> None:
        self._hooks = hooks
        self._timeout = timeout
        self._logger = logger
        self._waiting: deque[HookPayload] = deque()
        self._running = False
        self._lost = 0
        self.listened = hooks.listened

    def hears(self, event: HookEvent) -> bool:
        """Whether anybody listens; whoever asks first makes no payload for nobody."""
        return event in self.listened

    def dispatch(self, payload: P) -> P:
        """Run the hook of an event and wait for it.

        :returns: the payload as the hook left it; unchanged where nobody listens, and where an
            observation failed, which is logged.
        :raises HookFailedError: a gate raised, gave something else back, or took too long.
        :raises HookDeniedError: a gate said no.
        """
        if payload.event not in self.listened:
            return payload
        gate = HOOK_POINTS[payload.event].kind is HookKind.GATE
        try:
            answered: P = self._call(payload)
        except Exception as error:
            if gate:
                raise _failed(payload, error) from error
            self._log(payload, error)
            return payload
        if gate and answered.deny and payload.event not in UNDENIABLE:
            raise _denied(payload, answered.deny_reason)
        return answered

    def post(self, payload: HookPayload) -> None:
        """Run the hook of an observation in the background, after those before it."""
        if payload.event not in self.listened:
            return
        if len(self._waiting) >= HOOKS_WAITING_MAX:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(payload)
        if not self._running:
            self._running = True
            gevent.spawn(self._run)

    def _run(self) -> None:
        try:
            while self._waiting:
                self._observe(self._waiting.popleft())
        finally:
            self._running = False
        if self._lost:
            self._logger.warning("a slow hook lost %d observations", self._lost)
            self._lost = 0

    def _observe(self, payload: HookPayload) -> None:
        """In this greenlet: what nobody waits for is told in order, before what comes later."""
        try:
            with gevent.Timeout(self._timeout, TimeoutError(f"no answer in {self._timeout} s")):
                self._hook(payload)(payload)
        except Exception as error:
            self._log(payload, error)

    def _hook(self, payload: HookPayload) -> Callable[[Any], Any]:
        point = HOOK_POINTS[payload.event]
        hook: Callable[[Any], Any] = getattr(
            getattr(self._hooks, point.group), "dispatch_" + payload.event.replace(".", "_")
        )
        return hook

    def _call(self, payload: Any) -> Any:
        answered = within(self._timeout, self._hook(payload), payload)
        if answered is None:
            return payload
        if not isinstance(answered, type(payload)):
            raise TypeError(f"the hook gave back a {type(answered).__name__}")
        return answered

    def _log(self, payload: HookPayload, error: Exception) -> None:
        self._logger.warning(
            'session: hook dispatch failed event=%s session_id="%s": %r',
            payload.event,
            payload.session_id,
            error,
        )


def within(
    seconds: float, call: Callable[..., Any], *args: Any, context: CallContext | None = None
) -> Any:
    """What ``call`` returns, run in a greenlet of its own for at most ``seconds``.

    :param context: ends the wait too.
    :raises TimeoutError: it took longer; it is ended.
    """
    running = gevent.spawn(_contained, call, args)
    ends = (running,) if context is None else (running, context.cancelled)
    gevent.wait(ends, timeout=seconds, count=1)
    if not running.ready():
        running.kill(block=False)
        if context is not None:
            context.check()
        raise TimeoutError(f"no answer within {seconds} s")
    if not running.successful() or isinstance(running.value, gevent.GreenletExit):
        raise RuntimeError("the call was ended from outside")
    answer, error = running.value
    if error is not None:
        raise error
    return answer


def _contained(call: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    """The answer or the error; an error that reached the hub would be printed by it."""
    try:
        return call(*args), None
    except Exception as error:
        return None, error


def _failed(payload: HookPayload, error: Exception) -> HookFailedError:
    return HookFailedError(
        f'session: dispatch {payload.event}: session "{payload.session_id}": {error}',
        session_id=payload.session_id,
        operation=str(payload.event),
        event=str(payload.event),
    )


def _denied(payload: HookPayload, reason: str) -> HookDeniedError:
    return HookDeniedError(
        f'session: dispatch {payload.event}: session "{payload.session_id}": denied'
        + (f": {reason}" if reason else ""),
        session_id=payload.session_id,
        operation=str(payload.event),
        event=str(payload.event),
        reason=reason,
    )
