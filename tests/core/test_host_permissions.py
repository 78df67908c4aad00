"""spec 02 14.3: permissions the host asks for; one winner, one answer each."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from greenroom.actors.core import effects as fx
from greenroom.actors.core import inputs
from greenroom.actors.core.host_permissions import HOST_PERMISSIONS_MAX, PERMISSION_TIMEOUT_S
from greenroom.actors.errors import (
    InvalidPermissionDecisionError,
    PendingPermissionNotFoundError,
    SessionNotActiveError,
)
from greenroom.actors.model.event import AgentEvent, EventType
from greenroom.actors.model.session import StopCause


def ask(bench, **fields):
    return bench.ask(partial(inputs.PermissionAsked, title="deploy", **fields))


def approve(bench, decision="allow-once", **fields):
    return bench.ask(inputs.PermissionApproved, decision=decision, **fields)


def mode(bench, permissions):
    meta = replace(bench.state.meta, effective_permissions=permissions)
    bench.state = replace(bench.state, meta=meta)


@pytest.mark.parametrize(
    ("permissions", "kind", "decision"),
    [
        ("deny-all", "read", "reject-once"),
        ("deny-all", "", "reject-once"),
        ("approve-reads", "read", "allow-once"),
        ("", "read", "allow-once"),
        ("approve-all", "read", "allow-once"),
        ("approve-all", "execute", "allow-once"),
    ],
)
def test_14_3_what_the_mode_decides(active, permissions, kind, decision):
    mode(active, permissions)
    number, effects = ask(active, kind=kind)
    assert active.answers[number] == decision
    assert not [e for e in effects if isinstance(e, fx.Commit)], "no turn: no row"


def test_14_3_the_rest_waits_for_somebody_and_is_recorded_in_the_turn(active, events_of, kinds):
    turn_id = active.run_turn()
    number, effects = ask(active, kind="execute", tool_call_id="call")
    assert kinds(effects) == ["Commit", "ArmTimer"]
    assert effects[1].seconds == PERMISSION_TIMEOUT_S
    (row,) = events_of(effects)
    assert (row.type, row.turn_id, row.title, row.decision) == (
        "permission",
        turn_id,
        "deploy",
        "",
    )
    approver, effects = approve(active, request_id=row.request_id)
    assert kinds(effects) == ["DisarmTimer", "Commit", "Reply", "Reply"]
    assert effects[1].durable
    assert events_of(effects)[0].decision == "allow-once"
    assert (active.answers[number], active.answers[approver]) == ("allow-once", None)
    late, effects = approve(active, request_id=row.request_id)
    assert effects == (fx.AnswerPermission(late, "allow-once", row.request_id, ""),), "one winner"


def test_14_2_by_its_turn_and_only_what_was_offered(active):
    turn_id = active.run_turn()
    number, _ = ask(active, options=("allow-once", "reject-once"))
    wrong, _ = approve(active, decision="allow-always", turn_id=turn_id)
    assert isinstance(active.answers[wrong], InvalidPermissionDecisionError)
    assert number not in active.answers
    approve(active, decision="reject-once", turn_id=turn_id)
    assert active.answers[number] == "reject-once"


def test_14_3_nobody_decides_in_time(active):
    number, (timer,) = ask(active)
    active.feed(inputs.TimerFired(timer.name))
    assert active.answers[number] == "reject-once"
    assert active.feed(inputs.TimerFired(timer.name)) == ()


@pytest.mark.parametrize("how", ["ends", "cancel", "interrupt", "closes"])
def test_14_3_the_end_of_the_turn_cancels_it_before_its_terminal_event(active, events_of, how):
    turn_id = active.run_turn()
    number, _ = ask(active)
    match how:
        case "ends":
            effects = active.arrive(AgentEvent(type=EventType.DONE))
            assert [e.type for e in events_of(effects)] == ["permission", "done"]
        case "closes":
            effects = active.feed(inputs.AgentStreamClosed(turn_id))
            assert [e.type for e in events_of(effects)] == ["permission", "error"]
        case "cancel":
            _, effects = active.ask(inputs.CancelRequested)
        case _:
            _, effects = active.ask(inputs.InterruptRequested)
    (row,) = [e for e in events_of(effects) if e.type == "permission"]
    assert (row.turn_id, row.decision) == (turn_id, "canceled")
    assert active.answers[number] == "canceled"


def test_14_3_a_session_that_stops_tells_who_waits(active):
    number, _ = ask(active)
    active.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    active.feed(inputs.AgentExited())
    assert isinstance(active.answers[number], PendingPermissionNotFoundError)
    again, _ = ask(active)
    assert isinstance(active.answers[again], SessionNotActiveError)


def test_14_3_too_many_at_once_are_rejected(active):
    for _ in range(HOST_PERMISSIONS_MAX):
        number, _ = ask(active)
        assert number not in active.answers
    number, _ = ask(active)
    assert active.answers[number] == "reject-once"
