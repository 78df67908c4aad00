"""The session actor: a message becomes a step, the step's effects go to the interpreter.

After each step the new state is the published snapshot; reads use it and never enter the mailbox.
"""

from __future__ import annotations

from types import TracebackType
from typing import ClassVar

from ..core.finalizing import crashed
from ..core.inputs import Input
from ..core.step import step
from ..errors import SessionError
from ..runtime.actor import GreenActor
from .interpreter import Interpreter
from .live import LiveSession

MAILBOX_BOUND = 1000
"""Prompts waiting to be looked at; beyond it the caller gets ``SessionMailboxFullError``."""


class SessionActor(GreenActor):
    """Runs one live session.

    :param live: the session, in state ``starting``; the actor is the only one to change it.
    """

    mailbox_bound: ClassVar[int | None] = MAILBOX_BOUND
    crash_on_ask_error: ClassVar[bool] = True

    def __init__(self, live: LiveSession) -> None:
        super().__init__()
        self._live = live
        self._now = live.ports.clock.now
        self._interpreter = Interpreter(live)
        self._observer = live.ports.observer

    def on_receive(self, message: Input) -> None:
        """Apply one input."""
        before = self._live.state
        state, effects = step(before, message, self._now())
        self._live.change(state)
        self._interpreter.run(effects)
        if self._observer is not None:
            self._observer(before, message, state, effects)

    def on_stop(self) -> None:
        """Nothing is taken any more: who still waits is told."""
        self._live.asks.refuse_all(self._live.gone())

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """A bug ended the session: nobody waits for ever and no agent is left behind."""
        error = SessionError(
            f'session "{self._live.id}" crashed: {exception_value!r}', session_id=self._live.id
        )
        error.__cause__ = exception_value
        self._live.change(crashed(self._live.state, repr(exception_value), self._now()))
        self._interpreter.abandon(error)


def start_actor(live: LiveSession) -> None:
    """Start the actor of a session in the current hub."""
    live.ref = SessionActor.start(live)
