"""Permissions that the host itself asks for, for tools of its own (02 14.3).

They follow the rules an agent's requests follow: the mode of the session decides what it can, and
somebody decides the rest, within ``PERMISSION_TIMEOUT_S``. Exactly one answer wins. What is asked
in a turn is recorded in it; outside of one only the answer matters.

===================  =================  =============
mode                 kind ``read``      other kinds
===================  =================  =============
``deny-all``         rejected           rejected
``approve-reads``    allowed            somebody is asked
``approve-all``      allowed            allowed
===================  =================  =============
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ..errors import (
    InvalidPermissionDecisionError,
    PendingPermissionNotFoundError,
    SessionNotActiveError,
)
from ..model.agent import PermissionDecision, PermissionMode
from ..model.event import AgentEvent, EventType
from ..model.ids import PERMISSION_PREFIX
from .effects import ArmTimer, Commit, DisarmTimer, Effect, Effects, Refuse, Reply, refuse
from .inputs import PermissionApproved, PermissionAsked, TimerFired
from .state import HostPermission, SessionState, mint

Step = tuple[SessionState, Effects]

HOST_PERMISSION_TIMER = "host-permission:"
PERMISSION_TIMEOUT_S = 300.0
"""How long somebody has to decide; then it is a rejection."""
HOST_PERMISSIONS_MAX = 64
"""Most that wait at once; one more is rejected."""

ALLOW, REJECT, ASK = (
    PermissionDecision.ALLOW_ONCE,
    PermissionDecision.REJECT_ONCE,
    PermissionDecision.PENDING,
)
POLICY = {
    PermissionMode.DENY_ALL: (REJECT, REJECT),
    PermissionMode.APPROVE_READS: (ALLOW, ASK),
    PermissionMode.APPROVE_ALL: (ALLOW, ALLOW),
}
"""What the mode says of kind ``read``, and of every other."""


def asked(state: SessionState, input: PermissionAsked, now: datetime) -> Step:
    """Decide, or wait for somebody who does."""
    if not state.takes_input:
        gone = SessionNotActiveError(
            f'request_permission: session "{state.id}" is not active ({state.meta.state})',
            session_id=state.id,
            operation="request_permission",
            state=state.meta.state,
        )
        return state, refuse(input.ask, gone)
    state, request_id = mint(state, PERMISSION_PREFIX)
    turn = state.turn
    pending = HostPermission(
        input.ask,
        request_id,
        turn.turn_id if turn is not None and not turn.terminal else "",
        input.title,
        input.kind,
        input.tool_call_id,
        input.options,
    )
    mode = PermissionMode(state.meta.effective_permissions or PermissionMode.APPROVE_READS)
    for_reads, for_others = POLICY[mode]
    decision = for_reads if input.kind == "read" else for_others
    if decision is ASK and len(state.host_permissions) >= HOST_PERMISSIONS_MAX:
        decision = REJECT
    if decision is not ASK:
        return state, _told(state, pending, decision, now)
    state = replace(state, host_permissions=(*state.host_permissions, pending))
    shown = _row(state, pending, "", now)
    return state, (*shown, ArmTimer(HOST_PERMISSION_TIMER + request_id, PERMISSION_TIMEOUT_S))


def answered(state: SessionState, input: PermissionApproved, now: datetime) -> Step | None:
    """A caller's decision on a request of the host; ``None``: it is on one of the agent's."""
    request_id, turn_id = input.request_id.strip(), input.turn_id.strip()
    found = [
        pending
        for pending in state.host_permissions
        if (pending.request_id == request_id if request_id else pending.turn_id == turn_id)
    ]
    if len(found) != 1:
        return None
    pending = found[0]
    if pending.options and input.decision not in pending.options:
        wrong = InvalidPermissionDecisionError(
            f'approve_permission: session "{state.id}": "{input.decision}" was not offered',
            session_id=state.id,
            decision=input.decision,
        )
        return state, refuse(input.ask, wrong)
    state, settled = _settle(state, pending, PermissionDecision(input.decision), now, input.ask)
    return state, settled


def timed_out(state: SessionState, input: TimerFired, now: datetime) -> Step:
    """Nobody decided: that is a rejection."""
    request_id = input.name.removeprefix(HOST_PERMISSION_TIMER)
    for pending in state.host_permissions:
        if pending.request_id == request_id:
            return _settle(state, pending, REJECT, now)
    return state, ()


def turn_ended(state: SessionState, turn_id: str, now: datetime) -> Step:
    """What the turn asked for is not wanted any more; its rows stand before its terminal one."""
    effects: list[Effect] = []
    for pending in state.host_permissions:
        if pending.turn_id == turn_id:
            state, settled = _settle(state, pending, PermissionDecision.CANCELED, now)
            effects.extend(settled)
    return state, tuple(effects)


def session_ended(state: SessionState) -> Step:
    """Nobody decides any more."""
    gone = PendingPermissionNotFoundError(
        f'request_permission: session "{state.id}" stopped', session_id=state.id
    )
    told: list[Effect] = []
    for pending in state.host_permissions:
        told.append(DisarmTimer(HOST_PERMISSION_TIMER + pending.request_id))
        told.append(Refuse(pending.ask, gone))
    return replace(state, host_permissions=()), tuple(told)


def _settle(
    state: SessionState,
    pending: HostPermission,
    decision: PermissionDecision,
    now: datetime,
    approver: int = 0,
) -> Step:
    left = tuple(other for other in state.host_permissions if other is not pending)
    state = replace(state, host_permissions=left)
    disarm = DisarmTimer(HOST_PERMISSION_TIMER + pending.request_id)
    return state, (disarm, *_told(state, pending, decision, now, approver))


def _told(
    state: SessionState,
    pending: HostPermission,
    decision: PermissionDecision,
    now: datetime,
    approver: int = 0,
) -> Effects:
    """The decision is recorded, then told to who asked and to who decided."""
    answers = (Reply(pending.ask, str(decision)), *((Reply(approver),) if approver else ()))
    owed = (Reply(approver),) if approver else ()
    return (*_row(state, pending, str(decision), now, owed), *answers)


def _row(
    state: SessionState,
    pending: HostPermission,
    decision: str,
    now: datetime,
    owed: tuple[Reply, ...] = (),
) -> Effects:
    if not pending.turn_id:
        return ()
    event = AgentEvent(
        type=EventType.PERMISSION,
        session_id=state.meta.acp_session_id,
        turn_id=pending.turn_id,
        request_id=pending.request_id,
        tool_call_id=pending.tool_call_id,
        timestamp=now,
        title=pending.title,
        action=pending.kind,
        resource="host",
        decision=decision,
    )
    return (Commit((event,), durable=bool(decision), owed=owed),)
