"""One running agent: its link, its streams, its end (04 1.2, 7.3).

Everything happens in the hub's thread. Rules it owns: which stream gets an event, what happens
between the exit of the child and ``done``, and what the exit means.
"""

from __future__ import annotations

import logging
import signal
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

import gevent
from gevent.event import AsyncResult, Event

from ...actors.errors import AgentError, AgentExitedError
from ...actors.model.agent import ApproveRequest, Caps
from ...actors.model.event import AgentEvent
from ..acp.client import AcpClient
from ..acp.outputs import (
    ClientCallAsked,
    ClientCallCancelled,
    Disconnected,
    EventsEmitted,
    Logged,
    Output,
    Ready,
    SessionClosed,
    StartFailed,
    SteerAnswered,
    TurnClosed,
)
from .calls import FileCalls, Offload
from .context import CallContext
from .exits import ExitWatch
from .files import Workspace
from .groups import group_lives, signal_group
from .launcher import ChildHandle
from .link import READ_STALL_S, Link
from .protocol import EventSink
from .stderr_tail import StderrTail
from .stream import PROMPT_BUFFER_SIZE, TurnStream
from .sweep import Sweep

FINAL_READ_S = 1.0
"""How long the output that an ended agent left behind may take to read (D31)."""
GROUP_EMPTY_S = 1.0
"""How long the killed process group may take to be gone (04 1.3)."""
EOF_GRACE_S = 0.25
"""After its output ended, an agent that is exiting has this long to do so (D34)."""
HELD_FACTS_MAX = 256
"""Session facts kept until somebody takes them; later ones are dropped and logged."""
_POLL_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)

logger = logging.getLogger(__name__)


class ACPAgentProcess:
    """An agent child process with an ACP client on its pipe.

    Made and opened by the driver; see :class:`~.protocol.AgentProcess` for the public members.

    :param child: owned from here on.
    :param client: not started yet.
    :param workspace: what the agent's file requests are confined to.
    :param offload: runs blocking work in a native thread.
    :param sweep: finds what left the process group.
    """

    def __init__(
        self,
        child: ChildHandle,
        client: AcpClient,
        *,
        agent_name: str,
        workspace: Workspace,
        offload: Offload,
        sweep: Sweep,
        prompt_buffer_size: int = PROMPT_BUFFER_SIZE,
        read_stall_s: float = READ_STALL_S,
        pidfd: bool = True,
    ) -> None:
        loop = gevent.get_hub().loop
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
        self._offload = offload
        self._sweep = sweep
        self._prompt_buffer_size = prompt_buffer_size
        self._stream: TurnStream | None = None
        self._steers: dict[str, AsyncResult[SteerAnswered]] = {}
        self._on_event: EventSink | None = None
        self._held_facts: deque[AgentEvent] = deque()
        self._facts_dropped = False
        self._eof_timer: Any = None
        self._loop = loop
        self._tail = StderrTail(child.stderr, loop)
        self.link = Link(
            child.stdin,
            child.stdout,
            client,
            loop,
            handle=self._handle,
            at_eof=self._at_eof,
            read_stall_s=read_stall_s,
        )
        self._calls = FileCalls(self.link, workspace, offload)
        self._watch = ExitWatch(child.pid, loop, self._at_exit, pidfd=pidfd)

    def open(self) -> None:
        """Begin the handshake; :attr:`started` gets its result."""
        self.link.open()
        self.link.act(self._client.start())

    # ---- what the session uses

    @property
    def on_event(self) -> EventSink | None:
        """Takes session facts that belong to no turn (07 R11); those held so far come at once."""
        return self._on_event

    @on_event.setter
    def on_event(self, sink: EventSink | None) -> None:
        self._on_event = sink
        if sink is not None and self._held_facts:
            facts = tuple(self._held_facts)
            self._held_facts.clear()
            sink(facts)

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

    def open_turn(self, turn_id: str, text: str, meta: dict[str, Any]) -> TurnStream:
        """Send a prompt; raises what :meth:`AcpClient.prompt` raises."""
        outputs = self._client.prompt(turn_id, text, meta)
        stream = TurnStream(turn_id, self._taken, self._prompt_buffer_size)
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
            case ClientCallAsked():
                self._calls.ask(output)
            case ClientCallCancelled(key):
                self._calls.withdraw(key)
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
        facts = tuple(event for event in events if not event.turn_id)
        if facts:
            self._offer(facts)
            events = tuple(event for event in events if event.turn_id)
        stream = self._stream
        if stream is not None and events:
            stream.put(events)
            if stream.is_full:
                self.link.pause()

    def _offer(self, facts: tuple[AgentEvent, ...]) -> None:
        if self._on_event is not None:
            self._on_event(facts)
            return
        room = HELD_FACTS_MAX - len(self._held_facts)
        self._held_facts.extend(facts[:room])
        if len(facts) > room and not self._facts_dropped:
            self._facts_dropped = True
            logger.warning("%s (pid %d): session facts dropped", self.agent_name, self.pid)

    def _close_turn(self, turn_id: str, suspect: bool) -> None:
        self.suspect = suspect
        stream = self._stream
        if stream is not None and stream.turn_id == turn_id:
            stream.close(suspect)
            self._stream = None
            self.link.resume()

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
        self.link.read_rest(FINAL_READ_S)
        status = self._watch.reap()
        self._child.popen.returncode = status
        try:
            self.link.fail(f"agent process {exit_text(status)}")
        finally:
            self.survived = not self._empty_group()
            self._close()
            self._result = self._meaning_of(status)
            self.done.set()

    def _empty_group(self) -> bool:
        """Kill what is left of the group and what left it; ``False`` when something survives."""
        strays = self._sweep.kill(self._child.start_token)
        if strays:
            logger.warning(
                "%s (pid %d): killed processes that had left its group: %s",
                self.agent_name,
                self.pid,
                strays,
            )
        end = time.monotonic() + GROUP_EMPTY_S
        pauses = iter(_POLL_S)
        while self._offload(group_lives, self.pid):
            if time.monotonic() > end:
                return False
            signal_group(self.pid, signal.SIGKILL)
            # Nothing tells that a group became empty: it must be asked again.
            gevent.sleep(next(pauses, _POLL_S[-1]))
        return True

    def _close(self) -> None:
        if self._eof_timer is not None:
            self._eof_timer.stop()
            self._eof_timer.close()
        self._tail.close()
        self._watch.close()
        self.link.close()

    def _meaning_of(self, status: int) -> Exception | None:
        if self.survived:
            return AgentError(f"process group {self.pid} of {self.agent_name} could not be emptied")
        if self._exit_was_asked or status == 0:
            return None
        tail = self.stderr()
        return AgentExitedError(
            f"{self.agent_name}: ACP subprocess exited unexpectedly: {exit_text(status)};"
            f" stderr={tail[-2048:]}",
            exit_status=status,
            stderr=tail,
        )


def exit_text(status: int) -> str:
    """An exit status for people."""
    return f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
