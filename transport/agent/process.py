"""One running agent: its link, its streams, its end (04 1.2, 7.3).

Everything happens in the hub's thread. Rules it owns: which stream gets an event, and what happens
between the exit of the child and ``done``.
"""

from __future__ import annotations

import logging
import signal
from datetime import UTC, datetime
from typing import Any

import gevent
from gevent.event import AsyncResult, Event

from ...actors.model.agent import ApproveRequest, Caps
from ...actors.model.event import AgentEvent
from ..acp.client import AcpClient
from ..acp.outputs import (
    ClientCallAsked,
    ClientCallCancelled,
    Disconnected,
    EventsEmitted,
    KillTerminals,
    Logged,
    Output,
    Ready,
    SessionClosed,
    StartFailed,
    SteerAnswered,
    TurnClosed,
)
from . import ending
from .activity import Heartbeat
from .calls import FileCalls
from .context import CallContext
from .exits import ExitWatch
from .facilities import Facilities
from .facts import SessionFacts
from .files import Workspace
from .groups import signal_group
from .health import AgentHealth
from .launcher import ChildHandle
from .link import Link
from .protocol import EventSink, HealthState, PromptRequest
from .stderr_tail import StderrTail
from .stream import TurnStream
from .terminal_calls import METHODS as TERMINAL_METHODS
from .terminal_calls import TerminalCalls
from .terminals import Terminals
from .tool_processes import ProcessHandle

EOF_GRACE_S = 0.25
"""After its output ended, an agent that is exiting has this long to do so (D34)."""
TERMINALS_END_S = 1.0
"""How long the killed terminals of an ended agent may take to be gone."""

logger = logging.getLogger(__name__)


class ACPAgentProcess:
    """An agent child process with an ACP client on its pipe.

    Made and opened by the driver; see :class:`~.protocol.AgentProcess` for the public members.

    :param child: owned from here on.
    :param client: not started yet.
    :param workspace: what the agent's requests are confined to.
    :param facilities: of the driver.
    """

    def __init__(
        self,
        child: ChildHandle,
        client: AcpClient,
        *,
        agent_name: str,
        workspace: Workspace,
        facilities: Facilities,
    ) -> None:
        self.pid = child.pid
        self.agent_name = agent_name
        self.command, self.args = child.argv[0], child.argv[1:]
        self.cwd = child.cwd
        self.session_id = ""
        self.caps = Caps()
        self.started_at = datetime.now(UTC)
        self.restored = False
        """Whether an earlier session of the agent was attached to."""
        self.replayed = 0
        """Updates the agent replayed then; none for a long history is suspicious (07 8)."""
        self.suspect = False
        self.record: ProcessHandle | None = None
        """In the registry of processes, from the start to the end."""
        self.exited = Event()
        """Set when the child is a zombie, before its last output was read."""
        self.done = Event()
        self.session_closed = Event()
        """Set after :meth:`request_stop` when the agent needs no more time for its session."""
        self.started: AsyncResult[Ready | StartFailed] = AsyncResult()
        self.survived = False
        """Whether something of the process group outlived SIGKILL; settled before ``done``."""
        self.stopping: Event | None = None
        """While somebody stops the process; set when they are through."""
        self._stop_requested = False
        self._exit_was_asked = False
        self._result: Exception | None = None
        self._child = child
        self._client = client
        self._facilities = facilities
        self._stream: TurnStream | None = None
        self._heartbeat: Heartbeat | None = None
        self._steers: dict[str, AsyncResult[SteerAnswered]] = {}
        self._facts = SessionFacts(f"{agent_name} (pid {child.pid})")
        self._eof_timer: Any = None
        self._loop = gevent.get_hub().loop
        self._connect(workspace)

    def _connect(self, workspace: Workspace) -> None:
        """Take the ends of the child's pipes, and watch for its end."""
        child, has = self._child, self._facilities
        self._tail = StderrTail(child.stderr, self._loop)
        self.link = Link(
            child.stdin,
            child.stdout,
            self._client,
            self._loop,
            handle=self._handle,
            at_eof=self._at_eof,
            read_stall_s=has.read_stall_s,
        )
        self._health = AgentHealth(self.link)
        self.terminals = Terminals(
            workspace,
            has.offload,
            has.registry,
            token=child.start_token,
            network_command=has.network_command,
            pidfd=has.pidfd,
        )
        self._files = FileCalls(self.link, workspace, has.offload)
        self._terminal_calls = TerminalCalls(self.link, self.terminals)
        self._watch = ExitWatch(child.pid, self._loop, self._at_exit, pidfd=has.pidfd)

    def open(self) -> None:
        """Begin the handshake; :attr:`started` gets its result."""
        self.link.open()
        self.link.act(self._client.start())

    # ---- what the session uses

    @property
    def on_event(self) -> EventSink | None:
        """Takes session facts that belong to no turn (07 R11); those held so far come at once."""
        return self._facts.sink

    @on_event.setter
    def on_event(self, sink: EventSink | None) -> None:
        self._facts.sink = sink

    def wait(self) -> Exception | None:
        """Wait for the end: ``None`` after a stop or exit status 0, else what happened."""
        self.done.wait()
        return self._result

    def stderr(self) -> str:
        """The last 128 KiB of the agent's stderr."""
        return self._tail.text()

    def caps_snapshot(self) -> Caps:
        """What the agent can do now."""
        return self._client.caps

    def health_state(self) -> HealthState:
        """What is known of the agent's health; all blank is no evidence of anything (D36)."""
        return self._health.state(self.suspect)

    def approve_permission(self, ctx: CallContext, request: ApproveRequest) -> None:
        """Answer a pending permission request (04 6.4).

        :raises SessionValueError: no such decision, or neither id given.
        :raises PendingPermissionNotFoundError: nothing of that id is pending.
        :raises PendingPermissionConflictError: several requests of the turn are.
        :raises InvalidPermissionDecisionError: the agent did not offer it; it stays pending.
        """
        ctx.check()
        self.link.act(self._client.resolve_permission(request))

    # ---- what the driver uses

    def attach(self, record: ProcessHandle) -> None:
        """Complete this record at the end, or now if that has come (D35)."""
        self.record = record
        if self.done.is_set():
            record.settle(err=self._result)

    def open_turn(self, request: PromptRequest) -> TurnStream:
        """Send a prompt; raises what :meth:`AcpClient.prompt` raises."""
        outputs = self._client.prompt(request.turn_id, request.message, dict(request.meta))
        stream = TurnStream(request.turn_id, self._taken, self._facilities.prompt_buffer_size)
        self._heartbeat = Heartbeat.of(request, self._loop)
        self._stream = stream
        # The reader of the turn before this one is no longer waited for.
        self.link.resume()
        self.link.act(outputs)
        return stream

    def cancel(self) -> None:
        """Ask the agent to end its turn."""
        self.link.act(self._client.cancel())

    def steer(self, steer_id: str, text: str) -> AsyncResult[SteerAnswered]:
        """Send steering; the result comes later."""
        outputs = self._client.steer(steer_id, text)
        answer: AsyncResult[SteerAnswered] = AsyncResult()
        self._steers[steer_id] = answer
        self.link.act(outputs)
        return answer

    def request_stop(self) -> None:
        """From here on the end is wanted: turns end silently, the exit is no crash."""
        if not self._stop_requested:
            self._stop_requested = True
            self.link.act(self._client.stop_requested())

    # ---- outputs of the client

    def _handle(self, output: Output) -> None:
        match output:
            case EventsEmitted(events):
                self._emit(events)
            case TurnClosed(turn_id, suspect):
                self._close_turn(turn_id, suspect)
            case ClientCallAsked(method=method) if method in TERMINAL_METHODS:
                self._terminal_calls.ask(output)
            case ClientCallAsked():
                self._files.ask(output)
            case ClientCallCancelled(key):
                self._files.withdraw(key)
                self._terminal_calls.withdraw(key)
            case KillTerminals(turn_id):
                self.terminals.kill_turn(turn_id)
            case SteerAnswered(steer_id):
                answer = self._steers.pop(steer_id, None)
                if answer is not None:
                    answer.set(output)
            case Ready(acp_session_id, caps, restored, replayed):
                self.session_id, self.caps = acp_session_id, caps
                self.restored, self.replayed = restored, replayed
                self.started.set(output)
            case StartFailed():
                self.started.set(output)
            case SessionClosed():
                self.session_closed.set()
            case Disconnected(cause):
                logger.debug("%s (pid %d): %s", self.agent_name, self.pid, cause)
            case Logged(level, text):
                number = logging.getLevelNamesMapping()[level.upper()]
                logger.log(number, "%s (pid %d): %s", self.agent_name, self.pid, text)

    def _emit(self, events: tuple[AgentEvent, ...]) -> None:
        """Events of the prompt go to its stream; all others to who listens to the session."""
        stream = self._stream
        turn_id = "" if stream is None else stream.turn_id
        others = tuple(event for event in events if not turn_id or event.turn_id != turn_id)
        if others:
            self._facts.offer(others)
            events = tuple(event for event in events if event.turn_id == turn_id)
        if stream is not None and events:
            stream.put(events)
            if stream.is_full:
                self.link.pause()

    def _close_turn(self, turn_id: str, suspect: bool) -> None:
        self.suspect = suspect
        self._end_heartbeat()
        stream = self._stream
        if stream is not None and stream.turn_id == turn_id:
            stream.close(suspect)
            self._stream = None
            self.link.resume()

    def _end_heartbeat(self) -> None:
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is not None:
            heartbeat.close()

    def _taken(self) -> None:
        self.link.resume()

    # ---- the end of the child

    def _at_eof(self) -> None:
        if not self.exited.is_set():
            self._eof_timer = self._loop.timer(EOF_GRACE_S)
            self._eof_timer.start(self.link.fail, "the agent closed its output", update=True)

    def _at_exit(self) -> None:
        self._exit_was_asked = self._stop_requested
        self.exited.set()
        gevent.spawn(self._finish)

    def _finish(self) -> None:
        """From the exit of the child to ``done``."""
        # The child is still a zombie here, so the id of its group can be nobody else's.
        signal_group(self.pid, signal.SIGKILL)
        self.terminals.close()
        self.link.read_rest(ending.FINAL_READ_S)
        status = self._watch.reap()
        self._child.popen.returncode = status
        try:
            self.link.fail(f"agent process {ending.exit_text(status)}")
        finally:
            self._clear_up()
            self._result = ending.exit_error(
                self.agent_name,
                self.pid,
                status,
                asked=self._exit_was_asked,
                survived=self.survived,
                stderr=self.stderr(),
            )
            if self.record is not None:
                self.record.settle(exit_code=status, err=self._result)
            self.done.set()

    def _clear_up(self) -> None:
        """End what the agent started, and give everything back."""
        offload = self._facilities.offload
        ending.kill_strays_of(self._child.start_token, self._facilities.sweep, self.agent_name)
        is_empty = ending.empty_group(self.pid, offload, ending.GROUP_EMPTY_S)
        self.survived = not self.terminals.wait(TERMINALS_END_S) or not is_empty
        self._end_heartbeat()
        if self._eof_timer is not None:
            self._eof_timer.stop()
            self._eof_timer.close()
        self._tail.close()
        self._watch.close()
        self.link.close()
