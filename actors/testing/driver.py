"""A driver whose agent is a Python function: no process, no pipe, every turn under control.

For tests of programs that embed sessions, and of greenroom itself::

    def story(turn):
        turn.say("hello")
        if turn.ask_permission("rm -rf /", request_id="p1") == "allow-once":
            turn.say("done it")
        turn.done()

    SessionManager(home=..., driver=ScriptedDriver(story))

A story runs in a greenlet of the hub, so it may wait for ``gevent`` events. It ends its turn with
``done`` or ``fail``, by returning (which is ``done``), or by ``exit``, which is a crash.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import gevent
from gevent.event import AsyncResult, Event
from gevent.queue import SimpleQueue

from ...transport.agent.context import CallContext
from ...transport.agent.protocol import (
    AgentProcess,
    EventSink,
    PromptRequest,
    StartOpts,
    TurnSink,
    WorkSink,
)
from ..errors import (
    AgentError,
    AgentExitedError,
    PendingPermissionNotFoundError,
    PromptInProgressError,
)
from ..model.agent import ApproveRequest, Caps, PermissionDecision
from ..model.event import AgentEvent, EventType
from ..model.failure import FailureKind, failure


class ScriptedTurn:
    """One turn as its story sees it, and as the driver's reader does.

    :param request: the prompt.
    """

    def __init__(self, process: ScriptedProcess, request: PromptRequest) -> None:
        self.process = process
        self.request = request
        self.turn_id = request.turn_id
        self.cancelled = Event()
        """Set when the session cancels the turn; a story may look at it or wait for it."""
        self.suspect = False
        """Set by a story whose turn ends in a way that puts later ones in doubt."""
        self.steered: list[str] = []
        """Steering texts that were taken, oldest first."""
        self._events: SimpleQueue[AgentEvent | None] = SimpleQueue()
        self._over = False

    def emit(self, type: str, **fields: Any) -> None:
        """Send any event; nothing is sent after the end of the turn."""
        if not self._over:
            self._events.put(AgentEvent(type=type, turn_id=self.turn_id, **fields))

    def say(self, text: str) -> None:
        """Send a piece of the answer."""
        self.emit(EventType.AGENT_MESSAGE, text=text)

    def use_tool(self, name: str, call_id: str = "call") -> None:
        """Send a tool call and its result: a steering boundary."""
        self.emit(EventType.TOOL_CALL, title=name, tool_call_id=call_id)
        self.emit(EventType.TOOL_RESULT, title=name, tool_call_id=call_id)

    def ask_permission(self, title: str, request_id: str = "permission") -> str:
        """Ask, and wait for the decision; ``canceled`` when the turn ends first."""
        waiting: AsyncResult[str] = AsyncResult()
        self.process.pending[request_id] = waiting
        self.emit(EventType.PERMISSION, request_id=request_id, title=title)
        decision = waiting.get()
        self.emit(EventType.PERMISSION, request_id=request_id, title=title, decision=str(decision))
        return str(decision)

    def done(self, stop_reason: str = "end_turn") -> None:
        """End the turn well."""
        self.emit(EventType.DONE, stop_reason=stop_reason)
        self._end()

    def fail(self, text: str, kind: FailureKind = FailureKind.PROMPT) -> None:
        """End the turn with an error."""
        self.emit(EventType.ERROR, error=text, failure=failure(kind, text))
        self._end()

    def exit(self, status: int = 1) -> None:
        """The agent process ends here, in the middle of the turn."""
        self.process.end(AgentExitedError(f"exit status {status}", exit_status=status))

    def take(self) -> list[AgentEvent]:
        """For the driver's reader: what there is, or an empty list at the end."""
        first = self._events.get()
        taken = [] if first is None else [first]
        while taken and not self._events.empty():
            event = self._events.get()
            if event is None:
                self._events.put(None)
                break
            taken.append(event)
        return taken

    def __iter__(self) -> Iterator[AgentEvent]:
        """The same, one by one."""
        while events := self.take():
            yield from events

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._events.put(None)
        self.process.turn = None
        self.process.cancel_pending()


Story = Callable[[ScriptedTurn], None]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ScriptedProcess:
    """The handle of an agent that is only a story."""

    on_event: EventSink | None = None
    on_turn: TurnSink | None = None
    on_work: WorkSink | None = None
    suspect = False

    def __init__(self, pid: int, opts: StartOpts, caps: Caps, started_at: datetime) -> None:
        self.pid = pid
        self.agent_name = opts.agent_name
        self.command = opts.command[0]
        self.args = opts.command[1:]
        self.cwd = opts.cwd
        self.session_id = opts.resume_session_id or f"scripted-{pid}"
        self.caps = caps
        self.started_at = started_at
        self.done = Event()
        self.turn: ScriptedTurn | None = None
        self.pending: dict[str, AsyncResult[str]] = {}
        self._error: Exception | None = None

    def wait(self) -> Exception | None:
        """Wait for the end."""
        self.done.wait()
        return self._error

    def stderr(self) -> str:
        """Nothing."""
        return ""

    def caps_snapshot(self) -> Caps:
        """What the driver was made with."""
        return self.caps

    def approve_permission(self, ctx: CallContext, request: ApproveRequest) -> None:
        """Answer :meth:`ScriptedTurn.ask_permission`."""
        name = request.request_id or next(iter(self.pending), "")
        waiting = self.pending.pop(name, None)
        if waiting is None:
            raise PendingPermissionNotFoundError(f'no permission "{name}" is pending')
        waiting.set(request.decision)

    def cancel_pending(self) -> None:
        """Nobody will answer any more."""
        for waiting in self.pending.values():
            waiting.set(PermissionDecision.CANCELED)
        self.pending.clear()

    def end(self, error: Exception | None) -> None:
        """The process is gone; an open turn ends with it."""
        if self.done.is_set():
            return
        self._error = error
        if self.turn is not None:
            if error is not None:
                self.turn.fail(str(error), FailureKind.PROCESS_EXIT)
            else:
                self.turn._end()
        self.done.set()


class ScriptedDriver:
    """An ``AgentDriver`` that plays a story per prompt.

    :param story: called with each turn, in a greenlet of its own.
    :param caps: what the agent claims to be able to do.
    :param now: the time of day, for when a process was started.

    ``processes`` lists what was started; ``on_start``, ``on_prompt`` and ``on_stop`` may be
    replaced by a function that raises, to inject the failure of exactly that call.
    """

    def __init__(
        self, story: Story, caps: Caps | None = None, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self.story = story
        self._now = now
        self.caps = caps or Caps(supports_load_session=True, supports_steering=True)
        self.processes: list[ScriptedProcess] = []
        self.on_start: Callable[[StartOpts], None] = lambda opts: None
        self.on_prompt: Callable[[PromptRequest], None] = lambda request: None
        self.on_stop: Callable[[ScriptedProcess], None] = lambda process: None
        self._pids = itertools.count(1_000_000_000)

    def start(self, ctx: CallContext, opts: StartOpts) -> ScriptedProcess:
        """A new process."""
        self.on_start(opts)
        process = ScriptedProcess(next(self._pids), opts, self.caps, self._now())
        self.processes.append(process)
        return process

    def prompt(
        self, ctx: CallContext, process: AgentProcess, request: PromptRequest
    ) -> ScriptedTurn:
        """Play the story for a prompt."""
        self.on_prompt(request)
        owner = _scripted(process)
        if owner.turn is not None:
            raise PromptInProgressError("prompt already in progress")
        if owner.done.is_set():
            raise AgentError("agent process is stopped")
        owner.turn = turn = ScriptedTurn(owner, request)
        gevent.spawn(self._play, turn)
        return turn

    def cancel(self, ctx: CallContext, process: AgentProcess) -> None:
        """Tell the story; a permission it waits for is answered ``canceled``."""
        owner = _scripted(process)
        if owner.turn is not None:
            owner.turn.cancelled.set()
        owner.cancel_pending()

    def steer(self, ctx: CallContext, process: AgentProcess, steer_id: str, text: str) -> str:
        """Hand a text to the story."""
        turn = _scripted(process).turn
        if turn is None:
            return "not_running"
        turn.steered.append(text)
        return "injected"

    def stop(self, ctx: CallContext, process: AgentProcess) -> None:
        """End the process."""
        owner = _scripted(process)
        self.on_stop(owner)
        owner.end(None)

    def _play(self, turn: ScriptedTurn) -> None:
        self.story(turn)
        turn.done("cancelled" if turn.cancelled.is_set() else "end_turn")


def _scripted(process: AgentProcess) -> ScriptedProcess:
    assert isinstance(process, ScriptedProcess), "a scripted driver drives what it started"
    return process
