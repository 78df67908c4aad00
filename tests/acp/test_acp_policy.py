"""The static policy, grants and the lexical half of confinement (04 5.2, 5.3)."""

import pytest
from greenroom.actors.errors import (
    InvalidPathError,
    PathOutsideWorkspaceError,
    PermissionDeniedError,
    ToolBlockedForNetworkTurnError,
)
from greenroom.actors.model.agent import PermissionDecision, PermissionMode
from greenroom.transport.acp import confinement, policy
from greenroom.transport.acp.policy import READ_FILE, WRITE_FILE, Grants
from hypothesis import given, settings
from hypothesis import strategies as st

DENY, READS, ALL = PermissionMode.DENY_ALL, PermissionMode.APPROVE_READS, PermissionMode.APPROVE_ALL


def locate(path):
    return confinement.locate(path, ["/ws", "/extra"])


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/ws", "/ws"),
        ("/ws/a/../b", "/ws/b"),
        ("a//b/./c", "/ws/a/b/c"),
        (" a ", "/ws/a"),
        ("/extra/a", "/extra/a"),
        ("../extra", "/extra"),
        ("/../ws/a", "/ws/a"),
    ],
)
def test_a_path_inside_a_root_is_cleaned(path, found):
    assert locate(path) == found


@pytest.mark.parametrize("path", ["..", "/", "/ws-evil/a", "/ws/../etc", "../../ws2", "/wsx"])
def test_d20_a_path_outside_is_refused(path):
    with pytest.raises(PathOutsideWorkspaceError):
        locate(path)


@pytest.mark.parametrize("path", ["", "  ", "a\0b"])
def test_a_path_that_is_none_is_refused(path):
    with pytest.raises(InvalidPathError):
        locate(path)


def test_the_root_of_all_contains_everything():
    assert confinement.locate("/etc/passwd", ["/"]) == "/etc/passwd"


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "..", ".", "", "ws", "ws-evil"])).map("/".join))
def test_what_is_found_is_below_a_root_and_stays_so(path):
    try:
        found = locate(path)
    except (InvalidPathError, PathOutsideWorkspaceError):
        return
    assert found == "/ws" or found.startswith(("/ws/", "/extra"))
    assert ".." not in found.split("/")
    assert locate(found) == found


@pytest.mark.parametrize(
    ("mode", "kind", "inside", "decision"),
    [
        (DENY, "read", True, PermissionDecision.REJECT_ONCE),
        (DENY, "edit", True, PermissionDecision.REJECT_ONCE),
        (READS, "read", True, PermissionDecision.ALLOW_ONCE),
        (READS, "edit", True, PermissionDecision.PENDING),
        (READS, "", True, PermissionDecision.PENDING),
        (ALL, "read", True, PermissionDecision.ALLOW_ONCE),
        (ALL, "execute", True, PermissionDecision.ALLOW_ONCE),
        (DENY, "read", False, PermissionDecision.REJECT_ONCE),
        (READS, "edit", False, PermissionDecision.REJECT_ONCE),
        (ALL, "edit", False, PermissionDecision.REJECT_ONCE),
    ],
)
def test_the_table_of_decisions(mode, kind, inside, decision):
    assert policy.judge(mode, kind, inside) is decision


@pytest.mark.parametrize(
    ("mode", "method", "allowed"),
    [
        (DENY, READ_FILE, False),
        (DENY, WRITE_FILE, False),
        (READS, READ_FILE, True),
        (READS, WRITE_FILE, False),
        (ALL, READ_FILE, True),
        (ALL, WRITE_FILE, True),
    ],
)
def test_the_table_of_file_calls(mode, method, allowed):
    def authorize():
        policy.authorize_file_call(mode, method, "/ws/a", locate, Grants(), False)

    if allowed:
        authorize()
    else:
        with pytest.raises(PermissionDeniedError) as raised:
            authorize()
        assert (raised.value.operation, raised.value.mode) == (method, mode.value)


def write(grants, path="/ws/a", mode=READS, network=False):
    policy.authorize_file_call(mode, WRITE_FILE, path, locate, grants, network)


def test_a_grant_lasts_as_long_as_its_call_and_its_turn():
    grants = Grants()
    grants.open("call-1", [])
    grants.open("call-2", [])
    write(grants)
    grants.close("call-1")
    write(grants)
    grants.clear()
    with pytest.raises(PermissionDeniedError):
        write(grants)
    grants.close("call-1")


def test_a_grant_that_names_paths_covers_these_only():
    grants = Grants()
    grants.open("call-1", ["/ws/a"])
    write(grants, "/ws/x/../a")
    with pytest.raises(PermissionDeniedError):
        write(grants, "/ws/b")


def test_no_grant_widens_the_roots_or_a_network_turn():
    grants = Grants()
    grants.open("call-1", [])
    with pytest.raises(PathOutsideWorkspaceError):
        write(grants, "/etc/passwd")
    with pytest.raises(ToolBlockedForNetworkTurnError):
        write(grants, network=True)
    with pytest.raises(ToolBlockedForNetworkTurnError):
        write(Grants(), mode=ALL, network=True)
    policy.authorize_file_call(READS, READ_FILE, "/ws/a", locate, grants, True)
