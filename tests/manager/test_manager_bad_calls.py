"""Bad input, for every operation of the table, in-process and remote: one error, nothing changed.

Each operation stands here once, with arguments that would be right; an operation that is new in the
table fails the first test until it has a row.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import pytest
from gevent.event import Event
from greenroom.actors import (
    RemoteSessionManager,
    SessionManager,
    SessionNotActiveError,
    SessionNotFoundError,
    SessionValueError,
)
from greenroom.actors.manager.surfaces import OPERATIONS
from greenroom.actors.model.turn import MESSAGE_BYTES_MAX
from greenroom.actors.testing.driver import ScriptedDriver

UNSAFE = ("../escape", "/etc", "a\\b", "C:x", ".", "..", "a\0b", "x" * 300)
WRONG_TYPES = (None, 7, ["x"], {"a": 1}, True)
NOT_FOUND, NOT_ACTIVE, NOTHING = SessionNotFoundError, SessionNotActiveError, None


class Call(NamedTuple):
    """Right arguments beside the id, and what the states of a session answer."""

    args: tuple = ()
    kwargs: dict = {}  # noqa: RUF012 - read only
    stopped: type | None = NOT_ACTIVE
    starting: type | None = NOT_ACTIVE
    text: str = ""
    """The name of the text that must be text and may not be too long; blank: the first argument."""


READ = {"stopped": NOTHING, "starting": NOTHING}
STOP = {"stopped": NOT_FOUND, "starting": NOT_FOUND}
OWNED = {"stopped": NOTHING, "starting": NOT_ACTIVE}
META = {"reason": "test"}
CALLS = {
    "stop": Call(**STOP),
    "stop_with_cause": Call(("shutdown",), **STOP),
    "request_stop_with_cause": Call(("shutdown",), **STOP),
    "delete": Call(**OWNED),
    "clear_conversation": Call(**OWNED),
    "repair_session": Call(**OWNED),
    "prompt": Call(("hello",)),
    "prompt_with_opts": Call((), {"message": "hello"}, text="message"),
    "prompt_network": Call(("hello",)),
    "prompt_synthetic": Call((), {"message": "hello", "metadata": META}, text="message"),
    "send_prompt": Call(("hello",)),
    "steer_prompt": Call(("left",)),
    "interrupt_prompt": Call(),
    "cancel_prompt": Call(**READ),
    "cancel_queued_prompt": Call(("inq-1",)),
    "approve_permission": Call((), {"decision": "allow-once", "request_id": "p"}),
    "request_permission": Call((), {"title": "deploy"}, text="title"),
    "input_queue_summary": Call(),
    "status": Call(**READ),
    "events": Call(**READ),
    "history": Call(**READ),
    "transcript": Call(**READ),
    "usage": Call(**READ),
    "permission_log": Call(**READ),
    "hook_runs": Call(**READ),
    "crash_bundle": Call(**READ),
    "get_session_health": Call(**READ),
    "touch_session_presence": Call(**STOP),
}
LENIENT = {"get", "is_prompting"}
"""These answer about any id."""
WITHOUT_ID = {
    "create",
    "home_status",
    "list",
    "list_all",
    "list_session_health",
    "metrics",
    "recover_session_health",
    "wait_for_finalizations",
    "wait_for_prompt_drains",
}
RESUME = {"resume"}
"""It starts what is stopped and waits for what is starting; its ids are checked like all."""


def test_every_operation_has_a_row():
    assert {*CALLS, *LENIENT, *WITHOUT_ID, *RESUME} == set(OPERATIONS)


class Held:
    """A runtime with an active, a stopped, a deleted and a starting session."""

    def __init__(self, tmp_path):
        self.gate, self.reached, self.holds = Event(), threading.Event(), False
        driver = ScriptedDriver(lambda turn: turn.say("hi"))
        driver.on_start = self._on_start
        self.manager = SessionManager(
            home=tmp_path / "home", driver=driver, agents={"scripted": ["scripted"]}
        )
        self.options = {"agent_name": "scripted", "workspace_path": str(tmp_path)}
        self.active = self.manager.create(**self.options)
        self.active.prompt("kept").result(timeout=10)
        self.stopped = self._stopped()
        self.deleted = self._stopped()
        self.manager.delete(self.deleted)
        self.holds = True
        self.starter = threading.Thread(target=self.manager.create, kwargs=self.options)
        self.starter.start()
        assert self.reached.wait(10)
        known = {self.active.id, self.stopped}
        (self.starting,) = {info.id for info in self.manager.list_all()} - known
        self.remote = RemoteSessionManager(home=self.manager.home)

    def _stopped(self):
        session = self.manager.create(**self.options)
        session.stop()
        return session.id

    def _on_start(self, opts):
        if self.holds:
            self.reached.set()
            self.gate.wait()

    def shown(self):
        """Everything a mistaken call might have changed."""
        ids = (self.active.id, self.stopped)
        return (
            [(info.id, info.state) for info in self.manager.list_all()],
            [self.manager.status(name) for name in ids],
            [self.manager.events(name) for name in ids],
            self.manager.input_queue_summary(self.active.id),
        )

    def close(self):
        self.holds = False
        self.manager._hub.post(self.gate.set)
        self.starter.join(10)
        self.remote.close()
        self.manager.close()


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    runtime = Held(tmp_path_factory.mktemp("held"))
    yield runtime
    runtime.close()


@pytest.fixture(params=["here", "remote"])
def caller(request, held):
    return held.manager if request.param == "here" else held.remote


@pytest.mark.parametrize("name", sorted({*CALLS, *RESUME}))
def test_blank_unknown_unsafe_and_deleted_ids_and_ids_that_are_none(name, caller, held):
    row = CALLS.get(name, Call())
    call = getattr(caller, name)
    before = held.shown()
    for blank in ("", "  ", *WRONG_TYPES):
        with pytest.raises(SessionValueError):
            call(blank, *row.args, **row.kwargs)
    for unknown in ("sess-unknown", held.deleted, *UNSAFE):
        with pytest.raises(SessionNotFoundError):
            call(unknown, *row.args, **row.kwargs)
    assert held.shown() == before


@pytest.mark.parametrize("name", sorted(CALLS))
def test_starting_and_stopped_sessions(name, caller, held):
    row = CALLS[name]
    call = getattr(caller, name)
    before = held.shown()
    for session_id, expected in ((held.starting, row.starting), (held.stopped, row.stopped)):
        if expected is None:
            continue
        with pytest.raises(expected) as raised:
            call(session_id, *row.args, **row.kwargs)
        if expected is NOT_ACTIVE:
            assert raised.value.state in ("starting", "stopped")
            assert raised.value.session_id == session_id
    assert held.shown() == before


@pytest.mark.parametrize("name", sorted(n for n, row in CALLS.items() if row.args or row.text))
def test_texts_that_are_none_or_too_long(name, caller, held):
    row = CALLS[name]
    bad = [None, 7, "", " \n", ["x"]]
    if "message" in row.kwargs or row.args in (("hello",), ("left",)):
        bad.append("x" * (MESSAGE_BYTES_MAX + 1))
    before = held.shown()
    for text in bad:
        args = (text, *row.args[1:]) if row.args else ()
        kwargs = {**row.kwargs, row.text: text} if row.text else row.kwargs
        with pytest.raises(SessionValueError):
            getattr(caller, name)(held.active.id, *args, **kwargs)
    assert held.shown() == before


def test_lenient_operations_answer_about_any_id(caller, held):
    for session_id in ("", "sess-unknown", held.deleted, *UNSAFE, *WRONG_TYPES):
        assert caller.get(session_id) is None
        assert caller.is_prompting(session_id) is False
    for session_id in (held.starting, held.stopped):
        assert caller.get(session_id) is None
        assert caller.is_prompting(session_id) is False


def test_arguments_of_create(caller, held):
    before = held.shown()
    texts = (
        "agent_name",
        "name",
        "type",
        "provider",
        "model",
        "reasoning_effort",
        "permissions",
        "channel",
        "prompt_overlay",
        "workspace",
    )
    for field in texts:
        for bad in (None, 7, ["x"], "x" * 70_000):
            with pytest.raises(SessionValueError) as raised:
                caller.create(**{**held.options, field: bad})
            assert raised.value.field == field
    for bad in ({"restart": "sometimes"}, {"restart": 7}, {"permissions": "all"}):
        with pytest.raises(SessionValueError):
            caller.create(**{**held.options, **bad})
    assert held.shown() == before


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("send_prompt", {"mode": "shout"}),
        ("send_prompt", {"mode": 7}),
        ("prompt_with_opts", {"message": "x", "turn_source": "synthetic"}),
        ("prompt_with_opts", {"message": "x", "turn_source": "nobody"}),
        ("prompt_with_opts", {"message": "x", "turn_source": 7}),
        ("prompt_with_opts", {"message": "x", "prompt_meta": 7}),
        ("prompt_with_opts", {"message": "x", "prompt_meta": {"turn_source": 7}}),
        ("prompt_synthetic", {"message": "x", "metadata": {}}),
        ("prompt_synthetic", {"message": "x", "metadata": None}),
        ("prompt_synthetic", {"message": "x", "metadata": {"reason": 7}}),
        ("prompt_synthetic", {"message": "x", "metadata": META, "turn_id": 7}),
        ("approve_permission", {"decision": "maybe", "request_id": "p"}),
        ("approve_permission", {"decision": 7, "request_id": "p"}),
        ("approve_permission", {"decision": "allow-once"}),
        ("approve_permission", {"decision": "allow-once", "request_id": 7}),
    ],
)
def test_options_that_do_not_exist(name, kwargs, caller, held):
    args = ("hello",) if name == "send_prompt" else ()
    before = held.shown()
    with pytest.raises(SessionValueError):
        getattr(caller, name)(held.active.id, *args, **kwargs)
    assert held.shown() == before


def test_two_metadata_of_a_network_prompt(caller, held):
    before = held.shown()
    with pytest.raises(SessionValueError):
        caller.prompt_network(held.active.id, "x", {"from": "a"}, {"from": "b"})
    assert held.shown() == before
