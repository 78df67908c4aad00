"""What a host decides for real agents through a whole manager: tools, questions, cancels.

06 1.6 (tool hooks), 07 R28 (questions), 02 11.2 (scoped interrupt), 02 12.2 (signs of life).
"""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from dataclasses import replace

import pytest
from greenroom.actors import HookSet, RestartPolicy, SessionManager, State
from greenroom.actors.model.settings import SessionSupervisionConfig
from greenroom.transport.agent.deciders import ElicitationAnswer

PRELUDE = """
import json, os, signal, sys, time

def send(**message):
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\\n")

def read():
    line = sys.stdin.readline()
    if not line:
        raise SystemExit(0)
    return json.loads(line)

def say(text):
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
    send(method="session/update", params={"sessionId": "s-1", "update": update})

def ask(method, **params):
    send(id="r", method=method, params={"sessionId": "s-1", **params})
    while True:
        message = read()
        if "method" not in message:
            return message

def await_prompt():
    while True:
        message = read()
        if message.get("method") == "session/prompt":
            return message["id"]

def end(turn, reason="end_turn"):
    send(id=turn, result={"stopReason": reason})

send(id=read()["id"], result={"protocolVersion": 1})
send(id=read()["id"], result={"sessionId": "s-1"})
"""


@pytest.fixture
def begin(tmp_path):
    """A session with an agent of this script."""
    opened = []

    def start(script, **options):
        path = tmp_path / "agent.py"
        path.write_text(PRELUDE + textwrap.dedent(script))
        manager = SessionManager(
            home=tmp_path / "home",
            agents={"one": [sys.executable, "-S", "-u", str(path)]},
            **options,
        )
        opened.append(manager)
        (tmp_path / "ws").mkdir(exist_ok=True)
        return manager, manager.create(
            agent_name="one", workspace_path=str(tmp_path / "ws"), permissions="approve-all"
        )

    yield start
    for manager in opened:
        manager.close()


def said(stream):
    return [event.text for event in stream if event.type == "agent_message"]


class Tools:
    """The tools group of a host's hooks."""

    def __init__(self, answer=lambda payload: None):
        self.told = []
        self._answer = answer

    def dispatch_tool_pre_call(self, payload):
        self.told.append((str(payload.event), payload.tool_id, payload.session_id, payload.turn_id))
        return self._answer(payload)

    def dispatch_tool_post_call(self, payload):
        self.told.append((str(payload.event), payload.tool_id, payload.tool_result))

    def dispatch_tool_post_error(self, payload):
        self.told.append((str(payload.event), payload.tool_id, payload.error))


WRITES = """
while True:
    turn = await_prompt()
    answer = ask("fs/write_text_file", path="note.txt", content="asked for")
    say(str(answer.get("error", {}).get("code", "written")))
    end(turn)
"""


def fails(payload):
    raise RuntimeError("a bug of the host")


@pytest.mark.parametrize(
    ("answer", "told", "content"),
    [
        (lambda payload: None, "written", "asked for"),
        (
            lambda p: replace(p, tool_input={**p.tool_input, "content": "patched"}),
            "written",
            "patched",
        ),
        (lambda p: replace(p, deny=True, deny_reason="not today"), "-32602", None),
        (fails, "-32602", None),
    ],
    ids=["allowed", "patched", "denied", "broken"],
)
def test_1_6_the_hook_decides_before_any_side_effect(begin, tmp_path, answer, told, content):
    tools = Tools(answer)
    _, session = begin(WRITES, hooks=HookSet(tools=tools))
    stream = session.prompt("write")
    assert said(stream) == [told]
    note = tmp_path / "ws" / "note.txt"
    assert (note.read_text() if note.exists() else None) == content
    assert tools.told[0] == ("tool.pre_call", "Write", session.id, stream.turn_id)
    outcomes = [("tool.post_call", "Write", {})] if content else []
    session.stop()
    assert tools.told[1:] == outcomes


def test_1_6_a_call_that_fails_is_told_as_such(begin):
    tools = Tools()
    _, session = begin(
        """
        turn = await_prompt()
        say(str(ask("fs/read_text_file", path="gone.txt")["error"]["code"]))
        end(turn)
        await_prompt()
        """,
        hooks=HookSet(tools=tools),
    )
    assert said(session.prompt("read")) == ["-32002"]
    session.stop()
    event, tool, error = tools.told[1]
    assert (event, tool) == ("tool.post_error", "Read")
    assert "gone.txt" in error


class Answers:
    def __init__(self):
        self.over = []

    def answer(self, ctx, asked):
        return ElicitationAnswer("accept", {"name": asked.message})

    def ended(self, asked, why):
        self.over.append(why)


@pytest.mark.parametrize(
    ("answerer", "told"),
    [
        (None, '{"action": "decline"}'),
        (Answers(), '{"action": "accept", "content": {"name": "?"}}'),
    ],
)
def test_r28_the_host_answers_what_agents_ask(begin, answerer, told):
    _, session = begin(
        """
        turn = await_prompt()
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        answer = ask("elicitation/create", mode="form", message="?", requestedSchema=schema)
        say(json.dumps(answer["result"]))
        end(turn)
        await_prompt()
        """,
        elicitation_answerer=answerer,
    )
    assert said(session.prompt("x")) == [told]


def test_11_2_a_cancel_ends_the_commands_of_the_turn_and_not_the_agent(begin):
    _, session = begin(
        """
        turn = await_prompt()
        made = ask("terminal/create", command="sh", args=["-c", "echo $$; exec sleep 300"])
        terminal = made["result"]["terminalId"]
        pid = ""
        while not pid:
            pid = ask("terminal/output", terminalId=terminal)["result"]["output"].strip()
        say(pid)
        ended = ask("terminal/wait_for_exit", terminalId=terminal)
        say(json.dumps(ended["result"]))
        end(turn, "cancelled")
        say("alive")
        turn = await_prompt()
        say("still here")
        end(turn)
        await_prompt()
        """
    )
    stream = session.prompt("run")
    pid = int(stream.next(timeout=20).text)
    os.kill(pid, 0)
    session.cancel()
    rest = list(stream)
    assert "signal: killed" in rest[0].text
    assert rest[-1].stop_reason == "cancelled"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    assert "still here" in said(session.prompt("and you?"))


def test_12_2_a_command_that_writes_keeps_a_silent_agent_from_being_taken_for_dead(begin):
    patient = SessionSupervisionConfig(
        activity_heartbeat_interval=0.05,
        progress_notify_interval=0.0,
        inactivity_warning_after=0.0,
        inactivity_timeout=4.0,
        timeout_cancel_grace=5.0,
    )
    _, session = begin(
        """
        turn = await_prompt()
        line = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i; sleep 0.5; done"
        terminal = ask("terminal/create", command=line)["result"]["terminalId"]
        ask("terminal/wait_for_exit", terminalId=terminal)
        end(turn)
        await_prompt()
        """,
        session_supervision=patient,
    )
    assert session.prompt("build").result(timeout=60).stop_reason == "end_turn"


SULKS = """
import pathlib
starts = pathlib.Path("starts")
starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
while True:
    turn = await_prompt()
    if len(starts.read_text()) == 1:
        while read().get("method") != "session/cancel":
            pass
        send(id=turn, error={"code": -32603, "message": "what cancel?"})
        turn = await_prompt()
        end(turn, "cancelled")  # and so on, to every later prompt
    else:
        say("fresh")
        end(turn)
"""


@pytest.mark.parametrize("mode", ["transient", "temporary"])
def test_r3_an_agent_whose_cancel_went_wrong_is_replaced_before_the_next_prompt(begin, mode):
    quick = RestartPolicy(mode, backoff_s=0.01, backoff_max_s=0.01)
    manager, session = begin(SULKS, restart=quick)
    live = session._live
    stream = session.prompt("x")
    session.cancel()
    assert list(stream)[-1].type == "error"
    if mode == "transient":
        manager._hub.call(
            lambda: live.when(
                lambda s: s.meta.state is State.ACTIVE and bool(s.restart_moments)
            ).get(timeout=20)
        )
        assert said(session.prompt("again")) == ["fresh"]
        titles = [row.event.title for row in manager.events(session.id)]
        assert "transcript_marker.session_recovered" in titles
        assert "session_stopped" not in [row.type for row in manager.events(session.id)]
    else:
        health = live.ports.process.health_state()
        assert health.is_unhealthy
        assert session.prompt("again").result(timeout=20).stop_reason == "cancelled"
        assert session.state is State.ACTIVE
