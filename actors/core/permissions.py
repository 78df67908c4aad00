"""Callers' answers to permission requests; the driver holds the requests themselves (02 14)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ..errors import SessionValueError
from ..model.agent import CALLER_DECISIONS
from ..model.session import State
from . import host_permissions
from .effects import AnswerPermission, refuse, reply
from .inputs import PermissionApproved, PermissionResolved
from .state import SessionState
from .turn import Step, not_active


def approve(state: SessionState, input: PermissionApproved, now: datetime) -> Step:
    """Hand a decision to the driver; acknowledged once its row is stored (02 14.2)."""
    if not (input.request_id.strip() or input.turn_id.strip()):
        nameless = SessionValueError(
            "approve_permission: request_id or turn_id is required", session_id=state.id
        )
        return state, refuse(input.ask, nameless)
    if input.decision not in CALLER_DECISIONS:
        unknown = SessionValueError(
            f'approve_permission: unknown decision "{input.decision}"', session_id=state.id
        )
        return state, refuse(input.ask, unknown)
    if state.meta.state is not State.ACTIVE:
        return state, refuse(input.ask, not_active(state, "approve_permission"))
    if (settled := host_permissions.answered(state, input, now)) is not None:
        return settled
    request_id, turn_id = input.request_id.strip(), input.turn_id.strip()
    return state, (AnswerPermission(input.ask, input.decision, request_id, turn_id),)


def permission_resolved(state: SessionState, input: PermissionResolved, now: datetime) -> Step:
    """The driver took the decision; its row is on the way."""
    if input.error is not None:
        return state, refuse(input.ask, input.error)
    if state.turn is None:
        return state, reply(input.ask)
    return replace(state, approvals=(*state.approvals, (input.ask, input.request_id))), ()
