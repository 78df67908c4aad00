"""One live incarnation as the rest of the runtime sees it: its snapshot, and a door to its mailbox.

The state is replaced by the actor after every step and is immutable, so any thread may read it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pykka import ActorDeadError

from ..core.inputs import Input
from ..core.state import SessionState, own_turn_id
from ..errors import SessionMailboxFullError, SessionNotActiveError
from ..model.records import HookRunRecord
from ..model.session import SessionInfo, SessionLineage, SessionMeta, State
from ..runtime import errors as kernel
from ..runtime.future import GreenFuture
from ..runtime.mailbox import Lane
from .asks import Asks
from .ports import SessionPorts

if TYPE_CHECKING:
    from ..runtime.ref import GreenRef


class LiveSession:
    """A session that an actor runs.

    :param state: the newest snapshot.
    :param ports: its world.
    """

    def __init__(self, state: SessionState, ports: SessionPorts) -> None:
        self.state = state
        self.ports = ports
        self.asks = Asks()
        self.left: GreenFuture[None] = GreenFuture()
        """Set when nobody finds the session any more (01 10.1 step 12)."""
        self.retired: GreenFuture[None] = GreenFuture()
        """Set when everything about the incarnation is over (step 18)."""
        self.ref: GreenRef[Any] | None = None
        self.drained: Callable[[], GreenFuture[None]] = _at_once
        """A future that is set once every submitted row is settled; the interpreter's."""
        self.record_hook_run: Callable[[HookRunRecord], None] = _nowhere
        """Keeps the record of a hook that ran (03 6); the interpreter's. A failure is logged."""
        self.handle: Any = None
        """What notifiers are given of this session."""
        self._own_turns = 0
        self._hidden: list[Callable[[], None]] = []
        self._waiting: list[tuple[Callable[[SessionState], bool], GreenFuture[None]]] = []

    @property
    def id(self) -> str:
        """greenroom's session id."""
        return self.state.id

    def ask(
        self, make: Callable[[int], Input], lane: Lane = Lane.CONTROL, request_id: str = ""
    ) -> GreenFuture[Any]:
        """Put an input that expects an answer into the mailbox; call it in the hub.

        :param make: builds the input from the number of its ask.
        :param request_id: the caller's name for the request; stored with its effect.
        :returns: the future of the answer; every error comes through it.
        """
        ask, answer = self.asks.open(request_id)
        try:
            self._actor().tell(make(ask), lane=lane)
        except ActorDeadError:
            self.asks.refuse(ask, self.gone())
        except kernel.MailboxFullError as error:
            full = SessionMailboxFullError(
                f'session "{self.id}": its mailbox is full; retry later', session_id=self.id
            )
            full.__cause__ = error
            self.asks.refuse(ask, full)
        return answer

    def gone(self) -> SessionNotActiveError:
        """What a call gets that came too late for this incarnation."""
        return SessionNotActiveError(
            f'session "{self.id}" is not live any more', session_id=self.id, state=State.STOPPED
        )

    def tell(self, input: Input, lane: Lane = Lane.CONTROL) -> None:
        """Put an input nobody waits for into the mailbox; a session that is over takes none."""
        with suppress(ActorDeadError):
            self._actor().tell(input, lane=lane)

    def hand_over(self, input: Input) -> None:
        """Put an input into the work lane and wait, in a greenlet, until it was taken in."""
        with suppress(ActorDeadError):
            self._actor().ask(input, lane=Lane.EXEMPT)

    def change(self, state: SessionState) -> None:
        """Publish the state after a step; whoever waited for it to look like this goes on."""
        self.state = state
        if self._waiting:
            met = [pair for pair in self._waiting if pair[0](state)]
            self._waiting = [pair for pair in self._waiting if pair not in met]
            for _, future in met:
                future.set(None)
        if self.ports.changed is not None:
            self.ports.changed(self)

    def name_own_turn(self) -> str:
        """An id for the next turn that the agent opens itself."""
        self._own_turns += 1
        return own_turn_id(self.state, self._own_turns)

    def when(self, holds: Callable[[SessionState], bool]) -> GreenFuture[None]:
        """A future that is set once the state is as ``holds`` says; call it in the hub."""
        future: GreenFuture[None] = GreenFuture()
        if holds(self.state):
            future.set(None)
        else:
            self._waiting.append((holds, future))
        return future

    def keep_hidden(self, releases: list[Callable[[], None]]) -> None:
        """Hide these secrets until the session is over, instead of those of an earlier start."""
        earlier, self._hidden = self._hidden, releases
        for release in earlier:
            release()

    def leave(self) -> None:
        """The session ends: it is not found by its id any more."""
        if not self.left.done:
            self.left.set(None)

    def retire(self) -> None:
        """The incarnation is over; called by its last effect or by its crash."""
        self.leave()
        if not self.retired.done:
            self.keep_hidden([])
            self.retired.set(None)
            self.ports.notices.stopped(self.handle)
        self._actor().stop(block=False)

    def _actor(self) -> GreenRef[Any]:
        assert self.ref is not None, "the actor of a live session is started with it"
        return self.ref

    def info(self) -> SessionInfo:
        """The public snapshot (01 3.1)."""
        info = info_of(self.state.meta, self.state.workspace)
        process = self.ports.process
        return info if process is None else replace(info, acp_caps=process.caps_snapshot())


def _nowhere(run: HookRunRecord) -> None:
    """The session has no actor yet, or any more."""


def _at_once() -> GreenFuture[None]:
    settled: GreenFuture[None] = GreenFuture()
    settled.set(None)
    return settled


def info_of(meta: SessionMeta, workspace: str) -> SessionInfo:
    """The snapshot a meta document gives, live or stored."""
    return SessionInfo(
        id=meta.id,
        name=meta.name,
        agent_name=meta.agent_name,
        provider=meta.provider,
        model=meta.model,
        reasoning_effort=meta.reasoning_effort,
        workspace_id=meta.workspace_id,
        workspace=workspace,
        channel=meta.channel,
        type=meta.session_type,
        lineage=meta.lineage or SessionLineage(root_session_id=meta.id),
        state=meta.state,
        stop_reason=meta.stop_reason,
        stop_detail=meta.stop_detail,
        failure=meta.failure,
        acp_session_id=meta.acp_session_id,
        liveness=meta.liveness,
        created_at=meta.created_at,
        updated_at=meta.updated_at,
    )
