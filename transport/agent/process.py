"""One running agent as its session sees it, and its end (04 1.2, 7.3).

Everything happens in the hub's thread. Rule it owns: what happens between the exit of the child and
``done``.
"""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from typing import Any

import gevent
from gevent.event import Event

from ...actors.model.agent import ApproveRequest, Caps
from ..acp.client import AcpClient
from ..acp.outputs import Ready
from . import ending
from .channel import Channel
from .context import CallContext
from .exits import ExitWatch
from .facilities import Facilities
from .files import Workspace
from .groups import signal_group
from .health import AgentHealth
from .launcher import ChildHandle
from .protocol import EventSink, HealthState, StartOpts, TurnSink, WorkSink
from .stderr_tail import StderrTail
from .tool_processes import ProcessHandle

EOF_GRACE_S = 0.25
"""After its output ended, an agent that is exiting has this long to do so (D34)."""
TERMINALS_END_S = 1.0
"""How long the killed terminals of an ended agent may take to be gone."""


class ACPAgentProcess:
    """An agent child process with an ACP client on its pipe.

    Made and opened by the driver; see :class:`~.protocol.AgentProcess` for the public members.

    :param child: owned from here on.
    :param client: not started yet.
    :param opts: of the start.
    :param workspace: what the agent's requests are confined to.
    :param facilities: of the driver.
    """

    def __init__(
        self,
        child: ChildHandle,
        client: AcpClient,
        opts: StartOpts,
        *,
        workspace: Workspace,
        facilities: Facilities,
    ) -> None:
        self.pid = child.pid
        self.agent_name = opts.agent_name
        self.command, self.args = child.argv[0], child.argv[1:]
        self.cwd = child.cwd
        self.session_id = ""
        self.caps = Caps()
        self.started_at = datetime.now(UTC)
        self.restored = False
        """Whether an earlier session of the agent was attached to."""
        self.replayed = 0
        """Updates the agent replayed then; none for a long history is suspicious (07 8)."""
        self.record: ProcessHandle | None = None
        """In the registry of processes, from the start to the end."""
        self.exited = Event()
        """Set when the child is a zombie, before its last output was read."""
        self.done = Event()
        self.survived = False
        """Whether something of the process group outlived SIGKILL; settled before ``done``."""
        self.stopping: Event | None = None
        """While somebody stops the process; set when they are through."""
        self._stop_requested = False
        self._exit_was_asked = False
        self._result: Exception | None = None
        self._child = child
        self._facilities = facilities
        self._eof_timer: Any = None
        self._loop = gevent.get_hub().loop
        self._tail = StderrTail(child.stderr, self._loop)
        self.channel = Channel(
            child, client, opts, workspace, facilities, self._loop, at_eof=self._at_eof
        )
        self.link = self.channel.link
        self.terminals = self.channel.terminals
        self._health = AgentHealth(self.link)
        self._watch = ExitWatch(child.pid, self._loop, self._at_exit, pidfd=facilities.pidfd)

    def is_ready(self, ready: Ready) -> None:
        """The handshake is over. By the driver."""
        self.session_id, self.caps = ready.acp_session_id, ready.caps
        self.restored, self.replayed = ready.restored, ready.replayed

    # ---- what the session uses

    @property
    def on_event(self) -> EventSink | None:
        """Takes session facts that belong to no turn (07 R11); those held so far come at once."""
        return self.channel.facts.sink

    @on_event.setter
    def on_event(self, sink: EventSink | None) -> None:
        self.channel.facts.sink = sink

    @property
    def on_turn(self) -> TurnSink | None:
        """Takes the streams of turns that the agent opens itself; those held come at once."""
        return self.channel.streams.sink

    @on_turn.setter
    def on_turn(self, sink: TurnSink | None) -> None:
        self.channel.streams.sink = sink

    @property
    def on_work(self) -> WorkSink | None:
        """Takes what the agent does; at once, if that is not nothing."""
        return self.channel.on_work

    @on_work.setter
    def on_work(self, sink: WorkSink | None) -> None:
        self.channel.on_work = sink

    @property
    def suspect(self) -> bool:
        """Whether the last turn ended in a way after which later prompts may fail (07 R3)."""
        return self.channel.suspect

    def wait(self) -> Exception | None:
        """Wait for the end: ``None`` after a stop or exit status 0, else what happened."""
        self.done.wait()
        return self._result

    def stderr(self) -> str:
        """The last 128 KiB of the agent's stderr."""
        return self._tail.text()

    def caps_snapshot(self) -> Caps:
        """What the agent can do now."""
        return self.channel.client.caps

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
        self.link.act(self.channel.client.resolve_permission(request))

    # ---- what the driver uses

    def attach(self, record: ProcessHandle) -> None:
        """Complete this record at the end, or now if that has come (D35)."""
        self.record = record
        if self.done.is_set():
            record.settle(err=self._result)

    def request_stop(self) -> None:
        """From here on the end is wanted: turns end silently, the exit is no crash."""
        if not self._stop_requested:
            self._stop_requested = True
            self.link.act(self.channel.client.stop_requested())

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
        self.channel.end_heartbeat()
        if self._eof_timer is not None:
            self._eof_timer.stop()
            self._eof_timer.close()
        self._tail.close()
        self._watch.close()
        self.link.close()
