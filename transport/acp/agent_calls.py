"""The requests of the agent: which are served, who decides, and how each gets its one answer.

Permissions are decided by the static policy or parked for somebody (04 6); files and terminals are
handed on where the version has them (07 7); everything else is refused (04 5.1; 07 R30).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...actors.errors import (
    InvalidPathError,
    PathOutsideWorkspaceError,
    PermissionDeniedError,
    RequestError,
)
from ...actors.model.agent import (
    ApproveRequest,
    PermissionDecision,
    PermissionMode,
    PermissionOption,
)
from . import codec_v1, jsonrpc, methods, permission
from .client_calls import ClientCalls, refusal
from .codec import Codec
from .connection import Connection, InboundCall
from .elicitation import Elicitations
from .gateway import Prechecks, canonical, tool_id
from .inputs import ToolChanged
from .jsonrpc import decode_object, rpc_error
from .options import ClientOpts
from .outbox import Outbox
from .outputs import ClientCallCancelled, InterceptAsked
from .pending import Parked, PendingPermissions
from .permission import ALLOWING, Asked
from .policy import Grants, judge
from .turn import Turn

TIMER = "permission:"


class AgentCalls:
    """Serves what the agent asks.

    :param opts: policy and limits.
    :param connection: where the calls are open, and answered.
    :param outbox: takes events, calls to hand on and timers.
    """

    def __init__(self, opts: ClientOpts, connection: Connection[Any], outbox: Outbox) -> None:
        self._opts = opts
        self._connection = connection
        self._outbox = outbox
        self._pending = PendingPermissions()
        self._grants = Grants()
        self._prechecks = Prechecks(outbox)
        self._intercepted: dict[int, tuple[Parked, bool]] = {}
        self.client = ClientCalls(opts, connection, outbox, self._grants, self._prechecks)
        self.questions = Elicitations(opts, connection, outbox, lambda: self.changed())
        self.codec: Codec = codec_v1
        self.ready = False
        """Whether permission requests may become events."""
        self.network_turn = False
        self.changed: Callable[[], None] = _unheard
        """Called when something begins or ceases to wait for the user."""
        self.report: Callable[[ToolChanged], None] = _unheard
        """Takes the tool call that a permission request brings along (07 11)."""

    @property
    def is_asking(self) -> bool:
        """Whether anything waits for the user."""
        return bool(len(self._pending) or len(self.questions))

    # ---- routing

    def serve(self, call: InboundCall, turn: Turn | None) -> None:
        """Answer the call now, or leave it open for the one who decides."""
        if not self._connection.is_open(call.key):
            return  # withdrawn, or the agent is gone, while it waited for its turn
        try:
            match call.method:
                case methods.REQUEST_PERMISSION:
                    self._permission(call, turn)
                case methods.ELICITATION:
                    turn_id = turn.turn_id if turn else ""
                    self.questions.ask(call, turn_id, not _is_ending(turn))
                case method if self._serves(method):
                    turn_id = turn.turn_id if turn else ""
                    self.client.ask(call, turn_id, self.network_turn)
                case method:
                    raise rpc_error(jsonrpc.METHOD_NOT_FOUND, method=method)
        except RequestError as error:
            self._connection.answer_error(call.key, error)

    def _serves(self, method: str) -> bool:
        advertised = (self._opts.fs and method in methods.FILE_METHODS) or (
            self._opts.terminal and method in methods.TERMINAL_METHODS
        )
        return advertised and method in self.codec.SERVED

    def withdraw(self, params: bytes) -> None:
        """``$/cancel_request`` of the agent; an unknown or answered id is silent (07 R1)."""
        body = decode_object(params) or {}
        known, request_id = jsonrpc.canonical_id(body.get("requestId"))
        call = self._connection.find(request_id) if known else None
        if call is None:
            return
        parked = self._pending.take(call.key)
        if parked is not None:
            self._settle(parked, None, PermissionDecision.CANCELED)
        elif call.key in self._intercepted:
            self._drop_intercepted(call.key)
        elif not self.questions.withdraw(call.key):
            self.client.withdraw(call)

    def intercepted(self, key: int, patched: Any, error: Exception | None) -> None:
        """What the gateway says of a call; a key that is not open any more is ignored."""
        waiting = self._intercepted.pop(key, None)
        if waiting is None:
            self.client.intercepted(key, patched, error)
            return
        parked, inside = waiting
        asked = parked.asked
        self._prechecks.record(parked.turn_id, _tool_id(asked), asked.tool_input)
        changed = patched is not None and canonical(patched) != canonical(asked.tool_input)
        if isinstance(error, PermissionDeniedError) or changed:
            option, decision = permission.select(asked.options, PermissionDecision.REJECT_ONCE)
            self._settle(parked, option, decision)
        elif error is not None:
            failed = error if isinstance(error, RequestError) else refusal(error)
            self._connection.answer_error(key, failed)
        else:
            self._decide(parked, inside)

    # ---- permissions

    def _permission(self, call: InboundCall, turn: Turn | None) -> None:
        asked = self.codec.decode_permission(call.params)
        if not self.ready:
            self._connection.answer(call.key, permission.outcome(None))
            return
        if asked.tool is not None:
            self.report(asked.tool)
        turn_id = turn.turn_id if turn else ""
        if turn is not None:
            turn.permission_asked(asked.tool_call_id, self._outbox.events)
        paths = self._located(asked)
        parked = Parked(call.key, turn_id, self._pending.name(asked, turn_id), asked, paths or ())
        # An ended or cancelled turn takes no permissions any more (D24).
        if not asked.answerable or _is_ending(turn):
            self._settle(parked, None, PermissionDecision.CANCELED)
            return
        tool = _tool_id(asked)
        if self._opts.gateway and tool:
            self._intercepted[call.key] = parked, paths is not None
            read_only = asked.kind == "read"
            shown = InterceptAsked(call.key, tool, read_only, asked.tool_input, turn_id)
            self._outbox.put(shown)
        else:
            self._decide(parked, paths is not None)

    def _decide(self, parked: Parked, inside: bool) -> None:
        option, decision = self._judge(parked.asked, inside)
        if decision is PermissionDecision.PENDING:
            self._pending.park(parked)
            self._event(parked, decision)
            self._outbox.arm(f"{TIMER}{parked.key}", self._opts.permission_timeout_s)
            self.changed()
        else:
            self._settle(parked, option, decision)

    def _located(self, asked: Asked) -> tuple[str, ...] | None:
        """The canonical paths of the request; ``None`` when one is outside the roots."""
        try:
            return tuple(self.client.locate(path) for path in asked.paths)
        except (InvalidPathError, PathOutsideWorkspaceError):
            return None

    def _judge(
        self, asked: Asked, inside: bool
    ) -> tuple[PermissionOption | None, PermissionDecision]:
        mode = self._opts.permissions
        decision = judge(mode, asked.kind, inside)
        if decision is PermissionDecision.PENDING:
            return None, decision
        option, applied = permission.select(asked.options, decision)
        # What nobody decided must not hold for ever (D23).
        lasting = applied is PermissionDecision.ALLOW_ALWAYS
        if lasting and mode is PermissionMode.APPROVE_READS:
            return None, PermissionDecision.PENDING
        return option, applied

    def resolve(self, request: ApproveRequest) -> None:
        """A caller's answer; raises as :meth:`PendingPermissions.resolve`."""
        parked, option, applied = self._pending.resolve(request)
        if applied in ALLOWING:
            self._grants.open(parked.asked.tool_call_id, parked.paths)
        self._settle(parked, option, applied)

    def timer_fired(self, name: str) -> None:
        """Nobody answered in time: as ``reject-once``."""
        parked = self._pending.take(int(name.removeprefix(TIMER)))
        assert parked is not None, "whoever takes a request stops its timer"
        decision = PermissionDecision.REJECT_ONCE
        option, applied = permission.select(parked.asked.options, decision)
        self._settle(parked, option, applied)

    def precheck_over(self, name: str) -> None:
        """The announcement of a call that the gateway has seen did not come."""
        self._prechecks.timer_fired(name)

    def cancel_waiting(self) -> None:
        """Answer all that wait for the user with ``cancelled`` (D24; 07 R1, R28)."""
        for parked in self._pending.take_all():
            self._settle(parked, None, PermissionDecision.CANCELED)
        for key in sorted(self._intercepted):
            self._drop_intercepted(key)
        self.questions.cancel()

    def _drop_intercepted(self, key: int) -> None:
        del self._intercepted[key]
        self._outbox.put(ClientCallCancelled(key))
        self._connection.answer(key, permission.outcome(None))

    def _settle(
        self, parked: Parked, option: PermissionOption | None, decision: PermissionDecision
    ) -> None:
        self._outbox.disarm(f"{TIMER}{parked.key}")
        self._event(parked, decision)
        self._connection.answer(parked.key, permission.outcome(option))
        self.changed()

    def _event(self, parked: Parked, decision: PermissionDecision) -> None:
        self._outbox.events.append(
            permission.event(parked.asked, parked.turn_id, parked.known_as, decision)
        )

    # ---- ends

    def tool_finished(self, tool_call_id: str) -> None:
        """A tool call is over: its grant is used up (04 5.2)."""
        self._grants.close(tool_call_id)

    def prechecked(self, turn_id: str, update: ToolChanged) -> bool:
        """Whether the gateway has seen the call that is announced (04 5.6)."""
        return self._prechecks.consume(turn_id, update)

    def turn_over(self) -> None:
        """No grant outlives its turn."""
        self._grants.clear()
        self.network_turn = False

    def disconnected(self) -> None:
        """Nobody waits for answers any more."""
        self.cancel_waiting()
        self.client.disconnected()


def _unheard(*report: object) -> None:
    """Nobody listens yet."""


def _is_ending(turn: Turn | None) -> bool:
    return turn is not None and (turn.cancel_sent or not turn.is_open)


def _tool_id(asked: Asked) -> str:
    return tool_id(asked.kind, asked.given_tool, asked.title)
