"""Terminals as an agent asks for them, through the driver (04 5.5, D19, D28; 07 R5)."""

from __future__ import annotations

import os

import pytest
from greenroom.actors.model.agent import ApproveRequest, PermissionMode
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.process_store import ProcessQuery
from greenroom.transport.agent.protocol import PromptRequest
from greenroom.transport.agent.tool_records import ProcessSource, ProcessState

from .conftest import children, is_running, soon, until

ASK = """
    pending = []
    def ask(method, **params):
        send(id=f"r{method}", method="terminal/" + method, params={"sessionId": "s-1", **params})
        while True:
            got = read()
            if got.get("id") == f"r{method}" and "method" not in got:
                return got.get("result", got.get("error"))
            pending.append(got)
    def run(command, *args, **more):
        return ask("create", command=command, args=list(args), **more).get("terminalId", "none")
    handshake()
    request_id = await_prompt()
"""


def played(stage, text, **opts):
    """What an agent says that runs this text in its first turn."""
    opts.setdefault("permissions", PermissionMode.APPROVE_ALL)
    process = stage.start(stage.script(ASK + text + "\n    end(request_id)\n    serve()"), **opts)
    return "".join(e.text for e in stage.play(process, "x") if e.type == "agent_message")


def terminals_of(stage):
    found = stage.driver.processes._store.list(ProcessQuery())
    return [record for record in found if record.source is ProcessSource.ACP_TERMINAL]


def test_a_life_of_a_terminal(stage):
    said = played(
        stage,
        """
    made = run("sh", "-c", "echo $GREETING; pwd; exit 3", outputByteLimit=1000,
               env=[{"name": "GREETING", "value": "hello"}])
    say(made + "|" + json.dumps(ask("wait_for_exit", terminalId=made)) + "|")
    got = ask("output", terminalId=made)
    say(json.dumps([got["output"], got["truncated"], got["exitStatus"]]) + "|")
    say(json.dumps([ask("kill", terminalId=made), ask("release", terminalId=made)]) + "|")
    say(str(ask("output", terminalId=made)["code"]))
        """,
    )
    output = f'["hello\\n{stage.cwd.resolve()}\\n", false, {{"exitCode": 3}}]'
    assert said == f'term-1|{{"exitCode": 3}}|{output}|[{{}}, {{}}]|-32002'


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ('command="no-such-command-anywhere"', -32602),
        ('command="  "', -32602),
        ('command="true", cwd="/etc"', -32602),
        ('command="true", cwd=".."', -32602),
        ('command="true", cwd="missing"', -32602),
        ('command="true", args="x"', -32602),
        ('command="true", env=[{"name": "A=B", "value": "c"}]', -32602),
        ("command=5", -32602),
    ],
)
def test_creates_that_are_refused(stage, params, code):
    assert played(stage, f'    say(str(ask("create", {params})["code"]))') == str(code)
    assert terminals_of(stage) == []


@pytest.mark.parametrize("mode", [PermissionMode.DENY_ALL, PermissionMode.APPROVE_READS])
def test_a_mode_that_allows_none(stage, mode):
    said = played(stage, '    say(str(ask("create", command="touch made")))', permissions=mode)
    assert "-32602" in said
    assert not (stage.cwd / "made").exists()


@pytest.mark.parametrize("method", ["output", "wait_for_exit", "kill", "release"])
def test_a_terminal_nobody_made(stage, method):
    """D19: an id that is none has a code of its own."""
    said = played(stage, f'    say(str(ask("{method}", terminalId="term-9")["code"]))')
    assert said == "-32002"


def test_an_agent_without_the_offer_is_told_there_is_no_such_method(stage):
    said = played(
        stage, '    say(str(ask("create", command="true")["code"]))', advertise_terminal=False
    )
    assert said == "-32601"


def test_a_grant_allows_a_terminal_for_its_tool_call_only(stage):
    """An interactive allow opens terminals until the call has ended."""
    process = stage.start(
        stage.script(
            ASK
            + """
    def update(**members):
        send(method="session/update", params={"sessionId": "s-1", "update": members})
    update(sessionUpdate="tool_call", toolCallId="c-1", title="run", kind="execute")
    send(id="p", method="session/request_permission", params={"sessionId": "s-1",
        "toolCall": {"toolCallId": "c-1", "kind": "execute"},
        "options": [{"optionId": "y", "name": "Yes", "kind": "allow_once"}]})
    read()
    made = run("echo granted")
    ask("wait_for_exit", terminalId=made)
    say(ask("output", terminalId=made)["output"])
    update(sessionUpdate="tool_call_update", toolCallId="c-1", status="completed")
    say(str(ask("create", command="true").get("code")))
    end(request_id)
    serve()
            """
        )
    )
    stream = stage.prompt(process, "x")
    events = []
    for event in stream:
        events.append(event)
        if event.type == "permission" and not event.decision:
            request = ApproveRequest("allow-once", request_id=event.request_id)
            process.approve_permission(CallContext(), request)
    said = "".join(event.text for event in events if event.type == "agent_message")
    assert said == "granted\n-32602"


LONG = """
    made = run("sleep", "300")
    say("running")
    while True:
        got = pending.pop() if pending else read()
        if got.get("method") == "session/cancel":
            end(request_id, "cancelled")
            break
    serve()
"""


def running(stage, **opts):
    """An agent in a turn whose terminal runs; the process, its stream, the terminal's pid."""
    opts.setdefault("permissions", PermissionMode.APPROVE_ALL)
    process = stage.start(stage.script(ASK + LONG), **opts)
    stream = stage.prompt(process, "x")
    while not any(event.text == "running" for event in stream.take()):
        pass
    (record,) = terminals_of(stage)
    assert record.state is ProcessState.RUNNING
    assert is_running(record.pid)
    return process, stream, record


def test_a_cancelled_turn_takes_its_terminals_along(stage):
    """07 R5: the end of the turn does not end them by itself."""
    process, stream, record = running(stage)
    stage.driver.cancel(CallContext(), process)
    assert list(stream)[-1].stop_reason == "cancelled"
    until(lambda: not is_running(record.pid))
    until(lambda: terminals_of(stage)[0].state is ProcessState.COMPLETED)
    assert not process.done.is_set()


def test_an_interrupt_of_the_turn_reaches_the_terminal(stage):
    process, _, record = running(stage, session_id="sess-1")
    assert record.owner.turn_id == "turn-1"
    assert record.owner.session_id == "sess-1"
    assert record.owner.acp_session_id == "s-1"
    report = stage.driver.interrupt(soon(), "sess-1", "turn-1")
    assert (report.matched, report.signaled) == (1, 1)
    until(lambda: not is_running(record.pid))
    assert not process.done.is_set()


@pytest.mark.parametrize("by", ["stop", "kill"])
def test_the_end_of_the_agent_takes_all_terminals(stage, by):
    process, _, record = running(stage)
    if by == "stop":
        stage.stop(process)
    else:
        os.kill(process.pid, 9)
        process.wait()
    assert not is_running(record.pid)
    assert children() == []
    assert terminals_of(stage)[0].state is ProcessState.COMPLETED
    assert stage.driver.processes.live_count == 0


def test_a_withdrawn_wait_is_answered_and_the_terminal_stays(stage):
    """D19: a handler ended by the agent's own cancel."""
    said = played(
        stage,
        """
    made = run("sleep", "300")
    send(id="w", method="terminal/wait_for_exit", params={"sessionId": "s-1", "terminalId": made})
    send(method="$/cancel_request", params={"requestId": "w"})
    say(str(read()["error"]["code"]) + " " + str("exitStatus" in ask("output", terminalId=made)))
        """,
    )
    assert said == "-32800 False"


def test_a_withdrawn_create_leaves_no_terminal(stage):
    said = played(
        stage,
        """
    create = {"jsonrpc": "2.0", "id": "c", "method": "terminal/create",
              "params": {"sessionId": "s-1", "command": "sleep", "args": ["300"]}}
    cancel = {"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": "c"}}
    os.write(1, (json.dumps(create) + "\\n" + json.dumps(cancel) + "\\n").encode())
    say(str(read()["error"]["code"]))
        """,
    )
    assert said == "-32800"
    until(lambda: all(not is_running(record.pid) for record in terminals_of(stage)))


def test_many_waits_at_once_end_with_the_terminal(stage):
    said = played(
        stage,
        """
    made = run("sleep", "300")
    for n in range(20):
        send(id=f"w{n}", method="terminal/wait_for_exit",
             params={"sessionId": "s-1", "terminalId": made})
    ask("kill", terminalId=made)
    while len(pending) < 20:
        pending.append(read())
    say(" ".join(sorted({str(got["result"]) for got in pending})))
        """,
    )
    assert said == "{'signal': 'signal: killed'}"


def test_terminals_of_two_agents_have_their_own_names(stage):
    first = played(stage, '    say(run("true"))')
    assert (first, played(stage, '    say(run("true"))')) == ("term-1", "term-1")


def test_a_network_turn_runs_only_the_network_command(stage):
    command = stage.script(
        ASK
        + """
    say(str(ask("create", command="touch made").get("code")))
    end(request_id)
    serve()
        """
    )
    process = stage.start(command, permissions=PermissionMode.APPROVE_ALL)
    request = PromptRequest("turn-n", "x", {"turn_source": "network"})
    events = list(stage.driver.prompt(CallContext(), process, request))
    assert [event.text for event in events if event.text] == ["-32602"]
    assert not (stage.cwd / "made").exists()
