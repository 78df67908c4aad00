"""Requests sent again to a runtime that was killed: the first answer, one effect (5.16)."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter

import pytest
import zmq
from greenroom.actors import EventType, SessionManager, State
from greenroom.actors.core import recorded_calls
from greenroom.actors.manager.recall import RETRIED, Recall
from greenroom.actors.manager.remote import RemoteSessionManager
from greenroom.actors.manager.surfaces import OPERATIONS, Verbs
from greenroom.transport.bus.control import (
    CallId,
    CallMessage,
    EndAnswer,
    ErrorAnswer,
    ItemAnswer,
    OkAnswer,
    decode_answer,
    encode_message,
)
from greenroom.transport.bus.control_call import Call
from greenroom.transport.bus.endpoints import Endpoints
from greenroom.transport.bus.errors import RequestExpiredError
from greenroom.transport.bus.roles import Role

WAIT_MS = 30_000
DAEMON = """
import sys, threading
from greenroom.actors import SessionManager
deaf = [sys.executable, "-c", "import sys; sys.stdin.read()"]
with SessionManager(home=sys.argv[1], agents={"deaf": deaf}) as manager:
    print("ready", flush=True)
    threading.Event().wait()
"""


class Daemon:
    """A runtime in a process of its own, and one caller who says what it is told to."""

    def __init__(self, home):
        self.home = home
        self._numbers = {}
        self._context = zmq.Context()
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", DAEMON, str(self.home)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n"
        self._dealer = self._context.socket(zmq.DEALER)
        self._dealer.setsockopt(zmq.RCVTIMEO, WAIT_MS)
        self._dealer.connect(Endpoints.read(self.home).commands)

    def kill(self):
        self._dealer.close(linger=0)
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=30)

    def restart(self):
        self.kill()
        self.start()

    def say(self, name, verb="", *, age_ms=0, **args):
        number = self._numbers.setdefault(name, len(self._numbers) + 1)
        call = CallMessage(CallId(b"c" * 16, number), verb, args, None, age_ms, 1000)
        self._dealer.send(encode_message(call))

    def answers_within(self, ms):
        return self._dealer.poll(ms) != 0

    def hear(self):
        return decode_answer(self._dealer.recv())

    def call(self, name, verb, **args):
        """The result of a call, the items of a stream, or the name of the error."""
        self.say(name, verb, **args)
        items = []
        while True:
            match self.hear():
                case OkAnswer(number, result) if number == self._numbers[name]:
                    return result
                case ErrorAnswer(number, error) if number == self._numbers[name]:
                    return error
                case ItemAnswer(number, _, value) if number == self._numbers[name]:
                    items.append(value)
                case EndAnswer(number) if number == self._numbers[name]:
                    return items

    def first_item(self, name, verb, **args):
        self.say(name, verb, **args)
        answer = self.hear()
        while not (isinstance(answer, ItemAnswer) and answer.number == self._numbers[name]):
            answer = self.hear()
        return answer.value

    def end(self):
        self.kill()
        self._context.destroy(linger=0)


@pytest.fixture
def daemon(home):
    running = Daemon(home)
    yield running
    running.end()


def test_only_what_would_change_something_again_is_recalled():
    assert set(OPERATIONS) >= RETRIED
    assert not any(OPERATIONS[name].idempotent for name in RETRIED)


@pytest.mark.timeout(240)
def test_a_retry_after_a_kill_gets_the_first_answer_and_has_no_second_effect(daemon, workspace):
    new = {"agent_name": "demo", "workspace_path": workspace}
    session = daemon.call("create", "create", **new)
    said = {"session_id": session}
    events = daemon.call("prompt", "prompt", **said, message="@@say hello")
    turn = daemon.first_item("send", "send_prompt", **said, message="@@hang", mode="queue")
    queued = {"message": "@@say later", "mode": "queue"}
    answers = {
        "queue": daemon.call("queue", "send_prompt", **said, **queued),
        "queue2": daemon.call("queue2", "send_prompt", **said, **queued),
    }
    entry = answers["queue2"][0]["queue_entry_id"]
    answers["unqueue"] = daemon.call(
        "unqueue", "cancel_queued_prompt", **said, queue_entry_id=entry
    )
    answers["steer"] = daemon.call("steer", "steer_prompt", **said, message="faster")
    answers["interrupt"] = daemon.call("interrupt", "interrupt_prompt", **said)
    other = daemon.call("other", "create", **new)
    daemon.call("stop", "stop", session_id=other)
    gone = daemon.call("gone", "create", **new)
    assert daemon.call("delete", "delete", session_id=gone) is None
    daemon.restart()

    assert daemon.call("create", "create", **new, age_ms=2000) == session
    again = daemon.call("prompt", "prompt", **said, message="@@say hello", age_ms=2000)
    assert again[0] == events[0]
    assert [event["type"] for event in again[1:]] == [event["type"] for event in events[1:]]
    told = daemon.first_item("send", "send_prompt", **said, message="@@hang", age_ms=2000)
    assert told == turn
    verbs = {
        "queue": ("send_prompt", {**said, **queued}),
        "queue2": ("send_prompt", {**said, **queued}),
        "unqueue": ("cancel_queued_prompt", {**said, "queue_entry_id": entry}),
        "steer": ("steer_prompt", {**said, "message": "faster"}),
        "interrupt": ("interrupt_prompt", said),
    }
    for name, (verb, args) in verbs.items():
        assert daemon.call(name, verb, **args, age_ms=2000) == answers[name], name
    assert daemon.call("stop", "stop", session_id=other, age_ms=2000) is None
    assert daemon.call("delete", "delete", session_id=gone, age_ms=2000) is None
    with RemoteSessionManager(daemon.home) as manager:
        assert {info.id for info in manager.list_all()} == {session, other}
        rows = manager.events(session)
        assert Counter(row.event.text for row in rows if row.type == EventType.USER_MESSAGE) == {
            "@@say hello": 1,
            "@@hang": 1,
        }


@pytest.mark.timeout(240)
def test_a_decision_is_recorded_with_its_row(daemon, workspace):
    session = daemon.call("create", "create", agent_name="demo", workspace_path=workspace)
    daemon.say("prompt", "prompt", session_id=session, message="@@run touch made")
    request_id = ""
    while not request_id:
        answer = daemon.hear()
        if isinstance(answer, ItemAnswer) and answer.value.get("type") == "permission":
            request_id = answer.value["request_id"]
    decision = {"session_id": session, "decision": "allow-once", "request_id": request_id}
    assert daemon.call("approve", "approve_permission", **decision) is None
    daemon.restart()
    assert daemon.call("approve", "approve_permission", **decision, age_ms=2000) is None
    later = daemon.call("approve2", "approve_permission", **decision, age_ms=2000)
    assert later == "SessionNotActiveError"  # another request: it never took effect


def test_what_did_not_take_effect_runs_and_what_is_too_old_does_not(daemon, workspace):
    new = {"agent_name": "demo", "workspace_path": workspace}
    session = daemon.call("never came", "create", **new, age_ms=2000)
    assert daemon.call("never came", "create", **new, age_ms=2000) == session
    said = {"session_id": session, "message": "@@say x"}
    assert daemon.call("late", "prompt", **said, age_ms=599_000)[-1]["type"] == "done"
    assert daemon.call("too late", "prompt", **said, age_ms=600_000) == "RequestExpiredError"
    assert daemon.call("prompt", "prompt", session_id="sess-none", message="x", age_ms=1) == (
        "SessionNotFoundError"
    )
    assert daemon.call("stop", "stop", session_id="../x", age_ms=1) == "SessionNotFoundError"


def test_a_start_that_was_cut_off_is_told_and_not_made_twice(daemon, workspace):
    """The agent never answers its handshake; the runtime is killed while it waits."""
    new = {"agent_name": "deaf", "workspace_path": workspace}
    daemon.say("create", "create", **new)
    while not list(daemon.home.glob("sessions/*/meta.json")):
        assert not daemon.answers_within(ms=20)
    daemon.restart()
    assert daemon.call("create", "create", **new, age_ms=2000) == "AgentStartError"
    with RemoteSessionManager(daemon.home) as manager:
        (info,) = manager.list_all()
        assert info.state == State.STOPPED


def test_an_id_generator_of_the_host_makes_creation_impossible_to_recall(home, workspace):
    ids = iter(["sess-mine-1", "sess-mine-2"])
    with SessionManager(home=home, session_id_generator=lambda: next(ids)) as manager:
        call = Call("c.1", "create", {}, Role.ADMIN, "", None, age_s=1.0)
        with pytest.raises(RequestExpiredError):
            manager._hub.call(Recall(manager._runtime), call)


def test_a_record_that_had_to_go_early_expires_its_requests(home, workspace, monkeypatch):
    monkeypatch.setattr(recorded_calls, "RECORDED_MAX", 2)
    with SessionManager(home=home) as manager:
        session = manager.create(agent_name="demo", workspace_path=workspace)

        def interrupt(number):
            verbs = Verbs(manager._runtime, f"c.{number}")
            return manager._hub.call(verbs.interrupt_prompt, session.id)

        def recall(number, age_s):
            args = {"session_id": session.id}
            call = Call(f"c.{number}", "interrupt_prompt", args, Role.ADMIN, "", None, age_s)
            return manager._hub.call(Recall(manager._runtime), call)

        answers = [interrupt(number) for number in range(3)]
        assert recall(2, 1.0)[0]["queue_generation"] == answers[2].queue_generation
        assert recall(1, 1.0)[0]["queue_generation"] == answers[1].queue_generation
        with pytest.raises(RequestExpiredError):
            recall(0, 60.0)
        assert recall(9, 0.0) is None
