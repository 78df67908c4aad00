"""What is said between us and one agent: who acts on which report of the client (04 12).

One row per output in :meth:`Channel._handle`; everything happens in the hub's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from gevent.event import AsyncResult, Event

from ..acp.client import AcpClient
from ..acp.outputs import (
    ClientCallAsked,
    ClientCallCancelled,
    Disconnected,
    ElicitationAsked,
    ElicitationDone,
    EventsEmitted,
    InterceptAsked,
    KillTerminals,
    Logged,
    NoticeSeen,
    Output,
    Ready,
    SessionAnswered,
    SessionClosed,
    StartFailed,
    SteerAnswered,
    TurnClosed,
    TurnOpened,
    WorkChanged,
)
from .activity import Heartbeat
from .calls import FileCalls
from .facilities import Facilities
from .facts import SessionFacts
from .files import Workspace
from .host_calls import HostCalls
from .launcher import ChildHandle
from .link import Link
from .protocol import PromptRequest, StartOpts, WorkSink
from .session_requests import SessionRequests
from .stream import TurnStream
from .terminal_calls import METHODS as TERMINAL_METHODS
from .terminal_calls import TerminalCalls
from .terminals import Terminals
from .turn_streams import TurnStreams

IDLE = WorkChanged("idle")

logger = logging.getLogger(__name__)


class Channel:
    """The client of one agent, its pipe, and what serves the agent.

    :param child: whose pipe it is; owned by the caller.
    :param client: not started yet.
    :param workspace: what the agent's requests are confined to.
    :param loop: of the hub.
    :param at_eof: called once when the agent closed its output.
    """

    def __init__(
        self,
        child: ChildHandle,
        client: AcpClient,
        opts: StartOpts,
        workspace: Workspace,
        facilities: Facilities,
        loop: Any,
        at_eof: Callable[[], None],
    ) -> None:
        self.client = client
        self.started: AsyncResult[Ready | StartFailed] = AsyncResult()
        self.session_closed = Event()
        """Set after a stop was requested when the agent needs no more time for its session."""
        self.suspect = False
        self._whose = f"{opts.agent_name} (pid {child.pid})"
        self._loop = loop
        self._heartbeat: Heartbeat | None = None
        self._steers: dict[str, AsyncResult[SteerAnswered]] = {}
        self._work = IDLE
        self._on_work: WorkSink | None = None
        self.link = Link(
            child.stdin,
            child.stdout,
            client,
            loop,
            handle=self._handle,
            at_eof=at_eof,
            read_stall_s=facilities.read_stall_s,
        )
        self.facts = SessionFacts(self._whose)
        self.streams = TurnStreams(self.link, self.facts, facilities.prompt_buffer_size)
        self.terminals = Terminals(
            workspace,
            facilities.offload,
            facilities.registry,
            token=child.start_token,
            network_command=facilities.network_command,
            pidfd=facilities.pidfd,
            active=self._active,
        )
        self._host = HostCalls(self.link, opts.gateway, opts.answerer)
        self._requests = SessionRequests(self.link)
        served = self._host.served
        self._files = FileCalls(self.link, workspace, facilities.offload, served)
        self._terminal_calls = TerminalCalls(self.link, self.terminals, served)

    def open(self) -> None:
        """Begin the handshake; :attr:`started` gets its result."""
        self.link.open()
        self.link.act(self.client.start())

    @property
    def on_work(self) -> WorkSink | None:
        """Takes what the agent does; at once, if that is not nothing."""
        return self._on_work

    @on_work.setter
    def on_work(self, sink: WorkSink | None) -> None:
        self._on_work = sink
        if sink is not None and self._work != IDLE:
            sink(self._work)

    # ---- what we say

    def prompt(self, request: PromptRequest) -> TurnStream:
        """Send a prompt; raises what :meth:`AcpClient.prompt` raises."""
        outputs = self.client.prompt(request.turn_id, request.message, dict(request.meta))
        stream = self.streams.open(request.turn_id)
        self._heartbeat = Heartbeat.of(request, self._loop)
        self.link.act(outputs)
        return stream

    def steer(self, steer_id: str, text: str) -> AsyncResult[SteerAnswered]:
        """Send steering; the result comes later."""
        outputs = self.client.steer(steer_id, text)
        answer: AsyncResult[SteerAnswered] = AsyncResult()
        self._steers[steer_id] = answer
        self.link.act(outputs)
        return answer

    def request(self, operation: str, *arguments: str) -> AsyncResult[SessionAnswered]:
        """Ask the agent about its sessions; the answer comes later."""
        return self._requests.send(operation, *arguments)

    # ---- what the agent says

    def _handle(self, output: Output) -> None:
        match output:
            case EventsEmitted(events):
                self.streams.emit(events)
            case TurnOpened(turn_id):
                self.streams.open_own(turn_id)
            case TurnClosed(turn_id, suspect):
                self._close_turn(turn_id, suspect)
            case WorkChanged():
                self._work = output
                if self._on_work is not None:
                    self._on_work(output)
            case NoticeSeen(method):
                self._active("agent_notice", method)
            case ClientCallAsked(method=method):
                self._active("client_call", method)
                self._host.handed_on(output.key)
                calls = self._terminal_calls if method in TERMINAL_METHODS else self._files
                calls.ask(output)
            case InterceptAsked():
                self._host.intercept(output)
            case ElicitationAsked():
                self._host.question(output)
            case ElicitationDone():
                self._host.question_ended(output)
            case ClientCallCancelled(key):
                self._files.withdraw(key)
                self._terminal_calls.withdraw(key)
                self._host.withdraw(key)
            case KillTerminals(turn_id):
                self.terminals.kill_turn(turn_id)
            case SteerAnswered(steer_id):
                answer = self._steers.pop(steer_id, None)
                if answer is not None:
                    answer.set(output)
            case SessionAnswered():
                self._requests.answered(output)
            case Ready() | StartFailed():
                self.started.set(output)
            case SessionClosed():
                self.session_closed.set()
            case Disconnected(cause):
                logger.debug("%s: %s", self._whose, cause)
            case Logged(level, text):
                number = logging.getLevelNamesMapping()[level.upper()]
                logger.log(number, "%s: %s", self._whose, text)

    def _close_turn(self, turn_id: str, suspect: bool) -> None:
        self.suspect = suspect
        if self._heartbeat is not None and self._heartbeat.turn_id == turn_id:
            self.end_heartbeat()
        self.streams.close(turn_id, suspect)

    def _active(self, kind: str, detail: str) -> None:
        """The agent lives, be it by what it does through us (02 12.2)."""
        if self._heartbeat is not None:
            self._heartbeat.active(kind, detail)

    def end_heartbeat(self) -> None:
        """Nobody waits for the turn any more."""
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is not None:
            heartbeat.close()
