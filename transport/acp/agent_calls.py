"""The requests of the agent: which are served, who decides, and how each gets its one answer.

Permissions are decided by the static policy or parked for somebody (04 6); file calls that the
policy lets pass go to the shell (04 5); everything else is refused (04 5.1; 07 R28, R30).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from ...actors.errors import (
    InvalidPathError,
    PathOutsideWorkspaceError,
    PermissionDeniedError,
    RequestError,
    ToolBlockedForNetworkTurnError,
)
from ...actors.model.agent import (
    ApproveRequest,
    PermissionDecision,
    PermissionMode,
    PermissionOption,
)
from . import codec_v1, confinement, jsonrpc, permission
from .connection import Connection, InboundCall
from .jsonrpc import decode_object, rpc_error
from .options import ClientOpts
from .outbox import Outbox
from .outputs import ClientCallAsked, ClientCallCancelled
from .pending import Parked, PendingPermissions
from .permission import ALLOWING, Asked
from .policy import Grants, authorize_file_call, judge
from .turn import Turn

Purpose = TypeVar("Purpose")
REFUSALS = (
    PermissionDeniedError,
    InvalidPathError,
    PathOutsideWorkspaceError,
    ToolBlockedForNetworkTurnError,
)
FILE_MEMBERS: dict[str, tuple[tuple[str, type, bool], ...]] = {
    # method: (member, type, required)
    codec_v1.READ_FILE: (("path", str, True), ("line", int, False), ("limit", int, False)),
    codec_v1.WRITE_FILE: (("path", str, True), ("content", str, True)),
}
TIMER = "permission:"


class AgentCalls:
    """Serves what the agent asks.

    :param opts: policy and limits.
    :param connection: where the calls are open, and answered.
    :param outbox: takes events, file calls and timers.
    """

    def __init__(self, opts: ClientOpts, connection: Connection[Any], outbox: Outbox) -> None:
        self._opts = opts
        self._connection = connection
        self._outbox = outbox
        self._pending = PendingPermissions()
        self._grants = Grants()
        self._asked: set[int] = set()
        self.session_id = ""
        self.ready = False
        """Whether permission requests may become events."""
        self.network_turn = False
        self._roots = (opts.cwd, *opts.additional_dirs)

    # ---- routing

    def serve(self, call: InboundCall, turn: Turn | None) -> None:
        """Answer the call now, or leave it open for the one who decides."""
        try:
            match call.method:
                case codec_v1.REQUEST_PERMISSION:
                    self._permission(call, turn)
                case codec_v1.READ_FILE | codec_v1.WRITE_FILE if self._opts.fs:
                    self._file(call)
                case codec_v1.ELICITATION:
                    self._connection.answer(call.key, {"action": "decline"})
                case method:
                    refusal = rpc_error(jsonrpc.METHOD_NOT_FOUND, method=method)
                    self._connection.answer_error(call.key, refusal)
        except RequestError as error:
            self._connection.answer_error(call.key, error)

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
        else:  # only these two kinds of call stay open
            self.answer_error(call.key, rpc_error(jsonrpc.REQUEST_CANCELLED))
            self._outbox.put(ClientCallCancelled(call.key))

    # ---- files

    def _file(self, call: InboundCall) -> None:
        params = _file_params(call)
        try:
            authorize_file_call(
                self._opts.permissions,
                call.method,
                params["path"],
                self._locate,
                self._grants,
                self.network_turn,
            )
        except REFUSALS as error:
            raise rpc_error(jsonrpc.INVALID_PARAMS, str(error)) from error
        self._asked.add(call.key)
        self._outbox.put(ClientCallAsked(call.key, call.method, params))

    def answer(self, key: int, result: Any) -> None:
        """The shell did what was asked."""
        if key in self._asked:
            self._asked.discard(key)
            self._connection.answer(key, result)

    def answer_error(self, key: int, error: RequestError) -> None:
        """The shell could not do it."""
        if key in self._asked:
            self._asked.discard(key)
            self._connection.answer_error(key, error)

    def _locate(self, path: str) -> str:
        if self._opts.locate is not None:
            return self._opts.locate(path)
        return confinement.locate(path, self._roots)

    # ---- permissions

    def _permission(self, call: InboundCall, turn: Turn | None) -> None:
        asked = permission.decode_request(call.params)
        if not self.ready:
            self._connection.answer(call.key, permission.outcome(None))
            return
        turn_id = turn.turn_id if turn else ""
        if turn is not None:
            turn.permission_asked(asked.tool_call_id, self._outbox.events)
        paths = self._located(asked)
        parked = Parked(call.key, turn_id, self._pending.name(asked, turn_id), asked, paths or ())
        # An ended or cancelled turn takes no permissions any more (D24).
        if not asked.answerable or (turn and (turn.cancel_sent or not turn.is_open)):
            self._settle(parked, None, PermissionDecision.CANCELED)
            return
        option, decision = self._judge(asked, paths is not None)
        if decision is PermissionDecision.PENDING:
            self._pending.park(parked)
            self._event(parked, decision)
            self._outbox.arm(f"{TIMER}{call.key}", self._opts.permission_timeout_s)
        else:
            self._settle(parked, option, decision)

    def _located(self, asked: Asked) -> tuple[str, ...] | None:
        """The canonical paths of the request; ``None`` when one is outside the roots."""
        try:
            return tuple(self._locate(path) for path in asked.paths)
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

    def cancel_permissions(self) -> None:
        """Answer all that wait with ``cancelled`` (D24; 07 R1)."""
        for parked in self._pending.take_all():
            self._settle(parked, None, PermissionDecision.CANCELED)

    def _settle(
        self, parked: Parked, option: PermissionOption | None, decision: PermissionDecision
    ) -> None:
        self._outbox.disarm(f"{TIMER}{parked.key}")
        self._event(parked, decision)
        self._connection.answer(parked.key, permission.outcome(option))

    def _event(self, parked: Parked, decision: PermissionDecision) -> None:
        self._outbox.events.append(
            permission.event(parked.asked, parked.turn_id, parked.known_as, decision)
        )

    # ---- ends

    def tool_finished(self, tool_call_id: str) -> None:
        """A tool call is completed or failed: its grant is used up (04 5.2)."""
        self._grants.close(tool_call_id)

    def turn_over(self) -> None:
        """No grant outlives its turn."""
        self._grants.clear()
        self.network_turn = False

    def disconnected(self) -> None:
        """Nobody waits for answers any more."""
        self.cancel_permissions()
        for key in sorted(self._asked):
            self._outbox.put(ClientCallCancelled(key))
        self._asked.clear()


def _file_params(call: InboundCall) -> Mapping[str, Any]:
    """The members of a file call, of the right types.

    :raises RequestError: -32602.
    """
    body = decode_object(call.params)
    if body is None:
        raise rpc_error(jsonrpc.INVALID_PARAMS, "params is no object")
    params: dict[str, Any] = {"sessionId": body.get("sessionId")}
    for member, type_, required in FILE_MEMBERS[call.method]:
        value = body.get(member)
        if type_ is int and type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not type_ and (required or value is not None):
            raise rpc_error(jsonrpc.INVALID_PARAMS, f"{member} is missing or has a wrong type")
        params[member] = value
    return params
