"""Work of the agent's own through whole sessions: real v2 agents, and the rules step by step.

07 4.6 (blocked), 4.9 (unowned work), 4.10 (background); DESIGN: source synthetic, reason
``agent_initiated``.
"""

from __future__ import annotations

import sys
import textwrap

import pytest
from greenroom.actors import SessionManager
from greenroom.actors.model.settings import SessionSupervisionConfig

AGENT = """
import json, os, sys, time

def send(**message):
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\\n")

def read():
    line = sys.stdin.readline()
    if not line:
        raise SystemExit(0)
    return json.loads(line)

def update(**members):
    send(method="session/update", params={"sessionId": "s-1", "update": members})

def state(name, **more):
    update(sessionUpdate="state_update", state=name, **more)

def tell(text, message_id="m"):
    content = {"type": "text", "text": text}
    update(sessionUpdate="agent_message_chunk", messageId=message_id, content=content)

def start():
    while True:
        message = read()
        if message.get("method") == "initialize":
            send(id=message["id"], result={
                "protocolVersion": 2, "info": {"name": "two", "version": "1"},
                "capabilities": {"session": {}}})
        elif message.get("method") == "session/new":
            send(id=message["id"], result={"sessionId": "s-1"})
            return

def take_prompt():
    while True:
        message = read()
        if message.get("method") == "session/prompt":
            state("running")
            send(id=message["id"], result={"messageId": "u" + str(message["id"])})
            return message["params"]["prompt"][0]["text"]

def serve():
    while True:
        tell("served " + take_prompt())
        state("idle", stopReason="end_turn")

def await_file(name):
    while not os.path.exists(name):
        time.sleep(0.005)

def await_cancel():
    while read().get("method") != "session/cancel":
        pass
"""


@pytest.fixture
def begin(tmp_path):
    """A session with an agent of this script."""
    opened = []

    def start(script, **options):
        path = tmp_path / "agent.py"
        path.write_text(AGENT + textwrap.dedent(script))
        manager = SessionManager(
            home=tmp_path / "home",
            agents={"two": [sys.executable, "-S", "-u", str(path)]},
            **options,
        )
        opened.append(manager)
        return manager, manager.create(agent_name="two", workspace_path=str(tmp_path))

    yield start
    for manager in opened:
        manager.close()


def await_state(manager, session, condition):
    live = session._live
    manager._hub.call(lambda: live.when(condition).get(timeout=20))


def rows_of(manager, session, turn_id):
    return [
        (row.type, row.event.text or row.event.stop_reason)
        for row in manager.events(session.id)
        if row.turn_id == turn_id
    ]


def test_4_9_an_idle_sessions_agent_may_begin_to_work(begin, tmp_path):
    manager, session = begin(
        """
        start()
        take_prompt()
        state("idle", stopReason="end_turn", background=[{"type": "terminal", "terminalId": "t"}])
        await_file("go")
        state("running")
        tell("the build is through")
        state("idle", stopReason="end_turn", background=[])
        serve()
        """
    )
    first = session.prompt("build").result(timeout=20)
    await_state(manager, session, lambda s: s.background == ("t",) and not s.is_prompting)
    (tmp_path / "go").touch()
    await_state(manager, session, lambda s: s.is_prompting and s.watch.turn_source == "synthetic")
    await_state(manager, session, lambda s: s.background == () and not s.is_prompting)
    manager._hub.call(session._live.drained).get(timeout=20)
    [own] = {row.turn_id for row in manager.events(session.id)} - {first.turn_id}
    assert rows_of(manager, session, own) == [
        ("agent_message", "the build is through"),
        ("done", "end_turn"),
    ]
    [said] = [row.event for row in manager.events(session.id, turn_id=own, type="agent_message")]
    assert said.scheduler_reason == "agent_initiated"
    assert session.prompt("on").result(timeout=20).type == "done"


def test_4_9_what_is_queued_waits_and_the_own_turn_can_be_cancelled(begin):
    manager, session = begin(
        """
        start()
        state("running")
        tell("busy")
        await_cancel()
        state("idle", stopReason="cancelled")
        serve()
        """
    )
    await_state(manager, session, lambda s: s.is_prompting)
    own = session.current_turn_id
    assert session._live.state.turn.source == "synthetic"
    assert session.send_prompt("later", mode="queue").queued
    session.cancel()
    await_state(manager, session, lambda s: s.last_turn_id not in ("", own) and s.turn is None)
    assert ("done", "cancelled") in rows_of(manager, session, own)
    assert ("agent_message", "served later") in rows_of(
        manager, session, session._live.state.last_turn_id
    )


def test_4_9_work_before_the_prompt_was_taken_is_recorded_under_its_own_turn(begin):
    """The agent was at something else when the prompt came: two turns at once for the session."""
    manager, session = begin(
        """
        start()
        asked = read()
        state("running")
        tell("one moment", "m1")
        state("idle", stopReason="end_turn")
        state("running")
        send(id=asked["id"], result={"messageId": "u-2"})
        tell("served", "m2")
        state("idle", stopReason="end_turn")
        serve()
        """
    )
    stream = session.prompt("y")
    events = list(stream)
    assert [event.text for event in events if event.type == "agent_message"] == ["served"]
    manager._hub.call(session._live.drained).get(timeout=20)
    rows = manager.events(session.id)
    [own] = {row.turn_id for row in rows} - {stream.turn_id}
    assert rows_of(manager, session, own) == [("agent_message", "one moment"), ("done", "end_turn")]
    assert rows_of(manager, session, stream.turn_id)[-1] == ("done", "end_turn")
    assert session.prompt("again").result(timeout=20).type == "done"


def test_4_6_while_the_agent_waits_for_its_user_no_stall_is_counted(begin):
    quick = SessionSupervisionConfig(
        activity_heartbeat_interval=0.02,
        progress_notify_interval=0.0,
        inactivity_warning_after=0.0,
        inactivity_timeout=1.0,
        timeout_cancel_grace=5.0,
    )
    manager, session = begin(
        """
        start()
        take_prompt()
        state("requires_action")
        time.sleep(2.5)
        state("running")
        tell("thanks")
        state("idle", stopReason="end_turn")
        take_prompt()
        await_cancel()
        state("idle", stopReason="cancelled")
        serve()
        """,
        session_supervision=quick,
    )
    assert session.prompt("x").result(timeout=20).stop_reason == "end_turn"
    assert session.prompt("silence").result(timeout=20).stop_reason == "cancelled"
    told = [row.event.text for row in manager.events(session.id, type="runtime_warning")]
    assert len([text for text in told if text.startswith("Runtime activity timed out")]) == 1
