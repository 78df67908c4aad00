"""One permission request, and the table of those that wait (04 6)."""

import json
from itertools import count

import pytest
from greenroom.actors.errors import (
    InvalidPermissionDecisionError,
    PendingPermissionConflictError,
    PendingPermissionNotFoundError,
    RequestError,
    SessionValueError,
)
from greenroom.actors.model.agent import ApproveRequest, PermissionDecision, PermissionOption
from greenroom.transport.acp import permission
from greenroom.transport.acp.pending import Parked, PendingPermissions

D = PermissionDecision


def asked(meta=None, options=(), **tool):
    params = {"sessionId": "s", "toolCall": tool, "options": list(options)}
    if meta is not None:
        params["_meta"] = meta
    return permission.decode_permission(json.dumps(params).encode())


def options(*kinds):
    return tuple(PermissionOption(f"o{n}", kind) for n, kind in enumerate(kinds))


def wire_options(*kinds):
    return [{"optionId": f"o{n}", "kind": kind} for n, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    ("request_", "turn_id", "known_as"),
    [
        (asked({"request_id": "a", "id": "c"}, toolCallId="t"), "turn", "a"),
        (asked({"request_id": " ", "requestId": "b"}, toolCallId="t"), "turn", "b"),
        (asked({"id": "c"}), "turn", "c"),
        (asked({"id": 5}, toolCallId="t"), "turn", "turn:t"),
        (asked("meta", toolCallId="t"), "", "t"),
        (asked(title="Write", kind="edit"), "turn", "turn:Write"),
        (asked(kind="edit"), "turn", "turn:edit"),
        (asked(), "turn", "permission"),
    ],
)
def test_a_request_is_known_by_the_first_name_it_has(request_, turn_id, known_as):
    assert permission.request_id(request_, turn_id, (), count(1)) == known_as


def test_a_name_that_is_taken_gets_a_number():
    taken = {"turn:t", "turn:t:1"}
    assert permission.request_id(asked(toolCallId="t"), "turn", taken, count(1)) == "turn:t:2"


@pytest.mark.parametrize(
    "params",
    [b"[]", b"null", b'{"toolCall":5}', b'{"toolCall":{},"options":{}}'],
)
def test_params_that_can_not_be_read_are_refused(params):
    with pytest.raises(RequestError) as raised:
        permission.decode_permission(params)
    assert raised.value.code == -32602


def test_members_of_a_wrong_type_are_lost_and_nothing_else():
    read = permission.decode_permission(
        json.dumps(
            {
                "sessionId": 5,
                "toolCall": {
                    "toolCallId": [],
                    "title": "T",
                    "locations": [{"path": "/a", "line": 3}, {"path": 5}, "x"],
                },
                "options": [{"optionId": 1}, {"optionId": "o", "kind": 5, "name": "N"}, 3],
            }
        ).encode()
    )
    assert (read.session_id, read.tool_call_id, read.title) == ("", "", "T")
    assert read.locations == ({"path": "/a", "line": 3},)
    assert read.options == (PermissionOption("o", "", "N"),)
    assert not read.answerable
    empty = permission.decode_permission(b'{"toolCall":null,"options":null}')
    assert (empty.options, empty.locations, empty.paths) == ((), (), ())


@pytest.mark.parametrize(
    ("kinds", "decision", "option", "applied"),
    [
        (["allow_always", "allow_once"], D.ALLOW_ONCE, "o1", D.ALLOW_ONCE),
        (["allow_always"], D.ALLOW_ONCE, "o0", D.ALLOW_ALWAYS),
        (["allow_once", "allow_once"], D.ALLOW_ALWAYS, "o0", D.ALLOW_ONCE),
        (["reject_always"], D.REJECT_ONCE, "o0", D.REJECT_ALWAYS),
        (["reject_once"], D.REJECT_ALWAYS, "o0", D.REJECT_ONCE),
        (["allow_once"], D.REJECT_ONCE, None, D.CANCELED),
        (["maybe"], D.ALLOW_ONCE, None, D.CANCELED),
        ([], D.ALLOW_ONCE, None, D.CANCELED),
    ],
)
def test_an_option_is_chosen_by_its_kind(kinds, decision, option, applied):
    chosen, decided = permission.select(options(*kinds), decision)
    assert (chosen and chosen.option_id, decided) == (option, applied)


def test_an_exact_choice_takes_no_other_kind():
    assert permission.select(options("allow_always"), D.ALLOW_ONCE, exact=True) == (
        None,
        D.CANCELED,
    )


def test_the_event_holds_all_that_is_needed_to_ask_again():
    request_ = permission.decode_permission(
        json.dumps(
            {
                "sessionId": "s",
                "toolCall": {
                    "toolCallId": "t",
                    "title": "Write a",
                    "kind": "edit",
                    "status": "pending",
                    "locations": [{"path": "/ws/a"}],
                    "rawInput": {"x": 1},
                },
                "options": [
                    {"optionId": "o0", "kind": "allow_once", "name": "Yes"},
                    {"optionId": "o1", "kind": "odd"},
                ],
            }
        ).encode()
    )
    pending = permission.event(request_, "turn", "turn:t", D.PENDING)
    assert (pending.type, pending.session_id, pending.turn_id) == ("permission", "s", "turn")
    assert (pending.request_id, pending.tool_call_id) == ("turn:t", "t")
    assert (pending.title, pending.resource, pending.decision) == ("Write a", "/ws/a", "")
    assert pending.action == "session/request_permission"
    raw = {
        "request_id": "turn:t",
        "tool_input": {"x": 1},
        "options": [
            {"decision": "allow-once", "option_id": "o0", "kind": "allow_once", "label": "Yes"},
            {"option_id": "o1", "kind": "odd"},
        ],
        "tool_call": {
            "id": "t",
            "kind": "edit",
            "title": "Write a",
            "status": "pending",
            "locations": [{"path": "/ws/a"}],
        },
    }
    assert pending.raw.value == raw
    decided = permission.event(request_, "turn", "turn:t", D.ALLOW_ONCE)
    assert decided.decision == "allow-once"
    assert decided.raw.value == {**raw, "decision": "allow-once"}


def test_a_bare_request_has_a_bare_event():
    event = permission.event(asked(title="T"), "", "T", D.CANCELED)
    assert (event.resource, event.decision) == ("T", "canceled")
    assert event.raw.value == {
        "request_id": "T",
        "decision": "canceled",
        "tool_call": {"id": "", "title": "T"},
    }


def test_the_answer_names_an_option_or_says_cancelled():
    [option] = options("allow_once")
    assert permission.outcome(option) == {"outcome": {"outcome": "selected", "optionId": "o0"}}
    assert permission.outcome(None) == {"outcome": {"outcome": "cancelled"}}


@pytest.fixture
def pending():
    table = PendingPermissions()
    for key, name, turn in [(1, "a", "t1"), (2, "b", "t2"), (3, "c", "t2")]:
        request_ = asked(options=wire_options("allow_once", "reject_once"), toolCallId=name)
        table.park(Parked(key, turn, name, request_))
    return table


def test_a_request_is_found_by_its_id_or_as_the_only_one_of_its_turn(pending):
    parked, option, applied = pending.resolve(ApproveRequest("reject-once", request_id="b"))
    assert (parked.key, option.option_id, applied) == (2, "o1", D.REJECT_ONCE)
    assert pending.resolve(ApproveRequest("allow-once", turn_id=" t1 "))[0].key == 1
    assert len(pending) == 1


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (ApproveRequest("allow-once"), SessionValueError),
        (ApproveRequest("canceled", request_id="a"), SessionValueError),
        (ApproveRequest("yes", request_id="a"), SessionValueError),
        (ApproveRequest("allow-once", request_id="x"), PendingPermissionNotFoundError),
        (ApproveRequest("allow-once", turn_id="t9"), PendingPermissionNotFoundError),
        (ApproveRequest("allow-once", turn_id="t2"), PendingPermissionConflictError),
        (ApproveRequest("allow-always", request_id="a"), InvalidPermissionDecisionError),
    ],
)
def test_an_answer_that_fits_nothing_changes_nothing(pending, request_, error):
    with pytest.raises(error):
        pending.resolve(request_)
    assert len(pending) == 3


def test_d25_exactly_one_wins_a_request(pending):
    assert pending.take(1).known_as == "a"
    assert pending.take(1) is None
    with pytest.raises(PendingPermissionNotFoundError):
        pending.resolve(ApproveRequest("allow-once", request_id="a"))
    assert [parked.key for parked in pending.take_all()] == [2, 3]
    assert pending.take_all() == []
    assert pending.take(2) is None


def test_names_of_pending_requests_differ():
    table = PendingPermissions()
    names = []
    for key in range(3):
        request_ = asked(toolCallId="t")
        names.append(table.name(request_, "turn"))
        table.park(Parked(key, "turn", names[-1], request_))
    assert names == ["turn:t", "turn:t:1", "turn:t:2"]
