"""Bad input: one typed error each, nothing left running, nothing lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from greenroom.actors import (
    AgentNotAvailableError,
    AgentStartError,
    HomeInUseError,
    SessionManager,
    SessionNotActiveError,
    SessionNotFoundError,
    SessionValueError,
    State,
    WorkspaceNotFoundError,
    WorkspaceRootMissingError,
)
from greenroom.actors.errors import StoreValidationError, error_is

VERBS = [
    ("prompt", ("hello",), {}),
    ("send_prompt", ("hello",), {}),
    ("steer_prompt", ("left",), {}),
    ("interrupt_prompt", (), {}),
    ("cancel_queued_prompt", ("inq-1",), {}),
    ("approve_permission", (), {"decision": "allow-once", "request_id": "p"}),
    ("input_queue_summary", (), {}),
]
READS = [("status", (), {}), ("events", (), {}), ("history", (), {}), ("transcript", (), {})]
UNSAFE = ["../escape", "/etc", "a\\b", "C:x", ".", "..", "a\0b", "x" * 300]


def children() -> set[str]:
    """The processes this one started that still run; each thread has its own list."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


@pytest.mark.parametrize(("verb", "args", "kwargs"), VERBS + READS, ids=lambda v: str(v)[:20])
def test_blank_unknown_and_unsafe_ids(manager, verb, args, kwargs):
    call = getattr(manager, verb)
    for blank in ("", "  "):
        with pytest.raises(SessionValueError):
            call(blank, *args, **kwargs)
    for unknown in ("sess-unknown", *UNSAFE):
        with pytest.raises(SessionNotFoundError):
            call(unknown, *args, **kwargs)


def test_stop_resume_and_get_of_unknown_ids(manager):
    for verb in (manager.stop, manager.resume):
        with pytest.raises(SessionValueError):
            verb("")
        for unknown in ("sess-unknown", *UNSAFE):
            with pytest.raises(SessionNotFoundError):
                verb(unknown)
    assert manager.get("sess-unknown") is None
    assert manager.get("") is None
    assert manager.is_prompting("sess-unknown") is False
    with pytest.raises(SessionNotFoundError):
        manager.cancel_prompt("sess-unknown")


@pytest.mark.parametrize(("verb", "args", "kwargs"), VERBS, ids=lambda v: str(v)[:20])
def test_live_work_on_a_stopped_session(manager, session, verb, args, kwargs):
    session.stop()
    before = manager.events(session.id)
    with pytest.raises(SessionNotActiveError) as raised:
        getattr(manager, verb)(session.id, *args, **kwargs)
    assert raised.value.state == "stopped"
    assert manager.events(session.id) == before
    manager.cancel_prompt(session.id)


@pytest.mark.parametrize("message", ["", " \n ", None, 7])
def test_blank_and_wrong_prompts(manager, session, message):
    for send in (session.prompt, session.send_prompt, session.steer):
        with pytest.raises(SessionValueError):
            send(message)
    assert manager.events(session.id) == ()


def test_unknown_modes_causes_decisions_and_orders(manager, session):
    with pytest.raises(SessionValueError):
        session.send_prompt("x", mode="shout")
    with pytest.raises(SessionValueError):
        manager.stop_with_cause(session.id, "boredom")
    with pytest.raises(SessionValueError):
        session.approve(decision="maybe", request_id="p")
    with pytest.raises(SessionValueError):
        session.approve(decision="allow-once")
    for bad in ({"limit": -1}, {"after_sequence": -1}, {"order": "sideways"}):
        with pytest.raises(StoreValidationError):
            session.events(**bad)
    assert session.state is State.ACTIVE


def test_arguments_of_create(manager, workspace):
    before = children()
    for fields, error in [
        ({"agent_name": "", "workspace_path": workspace}, SessionValueError),
        ({"agent_name": "nobody", "workspace_path": workspace}, AgentNotAvailableError),
        ({"agent_name": "demo"}, SessionValueError),
        ({"agent_name": "demo", "workspace": "w", "workspace_path": "p"}, SessionValueError),
        ({"agent_name": "demo", "workspace": "ws-unknown"}, WorkspaceNotFoundError),
        ({"agent_name": "demo", "workspace_path": "/no/such/place"}, WorkspaceRootMissingError),
        ({"agent_name": "demo", "workspace_path": __file__}, WorkspaceRootMissingError),
        ({"agent_name": "demo", "workspace_path": "a\0b"}, SessionValueError),
        (
            {"agent_name": "demo", "workspace_path": workspace, "permissions": "x"},
            SessionValueError,
        ),
    ]:
        with pytest.raises(error):
            manager.create(**fields)
    assert manager.list_all() == ()
    assert children() == before


def test_a_command_that_is_not_installed(home, workspace):
    with SessionManager(home=home, agents={"mine": ["no-such-command-anywhere"]}) as manager:
        with pytest.raises(AgentNotAvailableError) as raised:
            manager.create(agent_name="mine", workspace_path=workspace)
        assert "no-such-command-anywhere" in str(raised.value)
        assert manager.list_all() == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise SystemExit(3)", "3"),
        ("sys.stderr.write('no key given\\n'); raise SystemExit(1)", "no key given"),
    ],
)
def test_an_agent_that_exits_at_once_leaves_a_record_and_no_process(
    home, workspace, script, text, told
):
    with SessionManager(home=home, agents={"bad": script(text)}) as manager:
        before = children()
        with pytest.raises(AgentStartError) as raised:
            manager.create(agent_name="bad", workspace_path=workspace)
        assert told in str(raised.value)
        assert children() == before
        assert manager.list() == ()
        (info,) = manager.list_all()
        assert info.state is State.STOPPED
        assert info.failure is not None
        types = [row.type for row in manager.events(info.id)]
        assert types == ["error", "session_stopped"]


def test_an_agent_that_prints_garbage_before_its_json_works(home, workspace, script, read_turn):
    argv = script(
        """
        print("Welcome to my agent!", flush=True)
        print("[1, 2", flush=True)
        print('"a string"', flush=True)
        while True:
            message = read()
            match message.get("method"):
                case "initialize":
                    send(id=message["id"], result={"protocolVersion": 1})
                case "session/new":
                    send(id=message["id"], result={"sessionId": "s-1"})
                case "session/prompt":
                    print("chatter", flush=True)
                    send(id=message["id"], result={"stopReason": "end_turn"})
        """
    )
    with SessionManager(home=home, agents={"chatty": argv}) as manager:
        session = manager.create(agent_name="chatty", workspace_path=workspace)
        assert read_turn(session, session.prompt("hi"))[-1].stop_reason == "end_turn"


def test_a_start_that_takes_too_long_is_given_up(home, workspace, script):
    argv = script("while True: read()")
    with SessionManager(home=home, agents={"mute": argv}) as manager:
        before = children()
        with pytest.raises((TimeoutError, AgentStartError)) as raised:
            manager.create(agent_name="mute", workspace_path=workspace, timeout=0.5)
        assert error_is(raised.value, TimeoutError)
        assert children() == before
        (info,) = manager.list_all()
        assert info.state is State.STOPPED


def test_a_second_runtime_on_the_same_home(home):
    first = SessionManager(home=home)
    with pytest.raises(HomeInUseError) as raised:
        SessionManager(home=home)
    assert raised.value.pid == os.getpid()
    first.close()
    SessionManager(home=home).close()


@pytest.mark.parametrize(
    "options",
    [
        {"hub": "mine"},
        {"durability": "maybe"},
        {"sync_interval": 0},
    ],
)
def test_bad_options(home, options):
    with pytest.raises(SessionValueError):
        SessionManager(home=home, **options)
    assert not home.exists()


def test_a_closed_manager_says_so(home, workspace):
    manager = SessionManager(home=home)
    session = manager.create(agent_name="demo", workspace_path=workspace)
    before = children()
    manager.close()
    manager.close()
    assert session.state is State.STOPPED
    assert before
    assert children() == set()
    with pytest.raises(SessionNotActiveError):
        manager.create(agent_name="demo", workspace_path=workspace)
    with pytest.raises(SessionNotActiveError):
        session.prompt("hello?")
