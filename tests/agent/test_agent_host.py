"""What an agent asks of the host beyond files and terminals, with real agent processes.

The gateway (04 5.6), questions (07 R28), turns of the agent's own (07 4.9), what it does (07 4.6,
4.10), requests about sessions (07 3), signs of life (02 12.2).
"""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event
from greenroom.actors.errors import (
    OperationUnavailableError,
    PermissionDeniedError,
    PromptInProgressError,
    RequestError,
    SessionValueError,
)
from greenroom.actors.model.agent import PermissionMode
from greenroom.transport.agent import activity
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.deciders import ElicitationAnswer, ToolRequest
from greenroom.transport.agent.protocol import PromptRequest
from greenroom.transport.agent.turn_streams import UNCLAIMED_TURNS_MAX

from .conftest import in_pipe, soon, until

V2 = """
def update(**members):
    send(method="session/update", params={"sessionId": "s-1", "update": members})

def state(name, **more):
    update(sessionUpdate="state_update", state=name, **more)

def tell(text, message_id="m"):
    content = {"type": "text", "text": text}
    update(sessionUpdate="agent_message_chunk", messageId=message_id, content=content)

def start_v2(**session):
    while True:
        message = read()
        if message.get("method") == "initialize":
            result = {"protocolVersion": 2, "info": {"name": "two", "version": "1"},
                      "capabilities": {"session": session}}
            send(id=message["id"], result=result)
        elif message.get("method") in ("session/new", "session/resume"):
            send(id=message["id"], result={"sessionId": "s-1"})
            return

def serve_v2():
    number = 0
    while True:
        message = read()
        if message.get("method") == "session/prompt":
            number += 1
            state("running")
            send(id=message["id"], result={"messageId": f"u{number}"})
            tell("served", f"a{number}")
            state("idle", stopReason="end_turn")
        elif message.get("method") == "session/cancel":
            state("idle", stopReason="cancelled")
"""


def texts(events):
    return [event.text for event in events if event.type == "agent_message"]


# ---- the gateway (04 5.6)


class Gateway:
    """Answers as it is told, and remembers what it was shown."""

    def __init__(self, answer=lambda request: None):
        self.shown = []
        self._answer = answer

    def intercept(self, ctx, request):
        self.shown.append(request)
        return self._answer(request)


FILE_AGENT = """
handshake()
while True:
    turn = await_prompt()
    send(id="r", method="fs/write_text_file",
         params={"sessionId": "s-1", "path": "note.txt", "content": "asked for"})
    answer = read()
    say(json.dumps(answer.get("error") or "written"))
    end(turn)
"""


def refuse(error):
    def answer(request):
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "content", "said"),
    [
        (lambda request: None, "asked for", "written"),
        (
            lambda r: ToolRequest(r.tool_id, r.read_only, {**r.input, "content": "patched"}),
            "patched",
            "written",
        ),
        (refuse(PermissionDeniedError("not today")), None, "-32602"),
        (refuse(ZeroDivisionError("a defect of the host")), None, "-32603"),
        (lambda r: ToolRequest("Bash", r.read_only, r.input), None, "-32602"),
        (lambda r: ToolRequest(r.tool_id, r.read_only, ["no", "path"]), None, "-32602"),
    ],
    ids=["unchanged", "patched", "denied", "broken", "another tool", "undecodable"],
)
def test_5_6_the_gateway_decides_before_any_side_effect(stage, answer, content, said):
    gateway = Gateway(answer)
    agent = stage.script(FILE_AGENT)
    process = stage.start(agent, gateway=gateway, permissions=PermissionMode.APPROVE_ALL)
    assert said in texts(stage.play(process, "write"))[0]
    path = stage.cwd / "note.txt"
    assert (path.read_text() if path.exists() else None) == content
    [shown] = gateway.shown
    assert (shown.tool_id, shown.read_only, shown.turn_id) == ("Write", False, "turn-1")
    assert shown.input == {"path": "note.txt", "content": "asked for"}


def test_5_6_a_withdrawn_call_tells_a_gateway_that_waits(stage):
    waited = []

    class Slow:
        def intercept(self, ctx, request):
            ctx.wait(Event())
            waited.append(ctx.error())
            return request

    agent = stage.script(
        """
        handshake()
        turn = await_prompt()
        send(id="r", method="fs/read_text_file", params={"sessionId": "s-1", "path": "README.md"})
        send(method="$/cancel_request", params={"requestId": "r"})
        say(str(read()["error"]["code"]))
        end(turn)
        serve()
        """
    )
    process = stage.start(agent, gateway=Slow())
    assert texts(stage.play(process, "x")) == ["-32800"]
    until(lambda: waited)
    assert isinstance(waited[0], RequestError)
    assert texts(stage.play(process, "again")) == ["served"]


class Watcher(Gateway):
    def __init__(self, answer=lambda request: None):
        super().__init__(answer)
        self.outcomes = []

    def served(self, request, result, error):
        self.outcomes.append((request.tool_id, result, type(error).__name__))


def test_5_6_a_gateway_may_be_told_what_came_of_a_call(stage):
    agent = stage.script(
        """
        handshake()
        turn = await_prompt()
        for path in ("README.md", "gone.txt", "../outside"):
            send(id=path, method="fs/read_text_file", params={"sessionId": "s-1", "path": path})
            read()
        send(id="t", method="terminal/create", params={"sessionId": "s-1", "command": "true"})
        terminal = read()["result"]["terminalId"]
        send(id="o", method="terminal/wait_for_exit",
             params={"sessionId": "s-1", "terminalId": terminal})
        read()
        end(turn)
        serve()
        """
    )
    watcher = Watcher()
    process = stage.start(agent, gateway=watcher, permissions=PermissionMode.APPROVE_ALL)
    stage.play(process, "x")
    assert watcher.outcomes == [
        ("Read", {"content": "# A tiny project\n"}, "NoneType"),
        ("Read", None, "RequestError"),
        ("Bash", {"terminalId": "term-1"}, "NoneType"),
    ]
    # What was refused was never served; waits and outputs are no tools of their own.
    assert len(watcher.shown) == 4


# ---- questions (07 R28)


class Answerer:
    def __init__(self, answer):
        self.asked = []
        self.over = []
        self._answer = answer

    def answer(self, ctx, asked):
        self.asked.append(asked)
        return self._answer(ctx, asked)

    def ended(self, asked, why):
        self.over.append((asked.message, why))


QUESTION = """
handshake()
while True:
    turn = await_prompt()
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    send(id="q", method="elicitation/create",
         params={"sessionId": "s-1", "mode": "form", "message": "who?", "requestedSchema": schema})
    answer = read()
    while "method" in answer:
        answer = read()
    say(json.dumps(answer.get("result")))
    end(turn)
"""


def fail(ctx, asked):
    raise RuntimeError("nobody at home")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            lambda ctx, asked: ElicitationAnswer("accept", {"name": "me"}),
            '{"action": "accept", "content": {"name": "me"}}',
        ),
        (lambda ctx, asked: ElicitationAnswer("decline"), '{"action": "decline"}'),
        (fail, '{"action": "cancel"}'),
        (lambda ctx, asked: ElicitationAnswer("perhaps"), '{"action": "cancel"}'),
    ],
    ids=["accept", "decline", "raises", "no such action"],
)
def test_r28_a_question_is_answered_by_the_host(stage, answer, said):
    answerer = Answerer(answer)
    process = stage.start(stage.script(QUESTION), answerer=answerer)
    assert texts(stage.play(process, "x")) == [said]
    [asked] = answerer.asked
    assert (asked.mode, asked.message, asked.turn_id) == ("form", "who?", "turn-1")


def test_r28_unattended_every_question_is_declined(stage):
    process = stage.start(stage.script(QUESTION))
    assert texts(stage.play(process, "x")) == ['{"action": "decline"}']


def test_r28_a_cancelled_turn_takes_its_question_back(stage):
    gone = []

    def wait(ctx, asked):
        ctx.wait(Event())
        gone.append(ctx.error())
        return ElicitationAnswer("accept", {"name": "too late"})

    answerer, work = Answerer(wait), []
    process = stage.start(stage.script(QUESTION), answerer=answerer)
    process.on_work = lambda changed: work.append(changed.state)
    stream = stage.prompt(process, "x")
    until(lambda: answerer.asked)
    assert work == ["blocked"]  # 07 4.6: it waits for its user
    stage.driver.cancel(soon(), process)
    assert texts(list(stream)) == ['{"action": "cancel"}']
    until(lambda: gone)
    assert answerer.over == [("who?", "canceled")]


def test_r28_the_end_of_what_a_link_leads_to_is_told(stage):
    agent = stage.script(
        """
        handshake()
        turn = await_prompt()
        send(id="q", method="elicitation/create",
             params={"sessionId": "s-1", "mode": "url", "message": "log in",
                     "url": "https://example.org", "elicitationId": "e1"})
        say(read()["result"]["action"])
        send(method="elicitation/complete", params={"elicitationId": "e1"})
        end(turn)
        serve()
        """
    )
    answerer = Answerer(lambda ctx, asked: ElicitationAnswer("accept"))
    process = stage.start(agent, answerer=answerer)
    assert texts(stage.play(process, "x")) == ["accept"]
    assert answerer.over == [("log in", "completed")]


# ---- turns of the agent's own, and what it does (07 4.9, 4.10)


OWN = (
    V2
    + """
start_v2()
state("running")
tell("by myself")
state("idle", stopReason="end_turn", background=[{"type": "terminal", "terminalId": "b1"}])
serve_v2()
"""
)


def test_4_9_work_nobody_asked_for_is_a_turn_of_its_own(stage):
    taken, work, ids = [], [], iter(("own-1", "own-2"))
    process = stage.start(stage.script(OWN), new_turn_id=lambda: next(ids))
    until(lambda: process.channel.streams._unclaimed)
    process.on_turn = taken.append  # it was held
    process.on_work = work.append
    [stream] = taken
    events = list(stream)
    assert stream.turn_id == "own-1"
    assert {event.turn_id for event in events} == {"own-1"}
    assert texts(events) == ["by myself"]
    assert events[-1].type == "done"
    assert [(told.state, told.background) for told in work] == [("idle", ("b1",))]
    assert texts(stage.play(process, "and now")) == ["served"]
    assert len(taken) == 1


def test_4_9_a_prompt_waits_for_the_end_of_the_agents_own_turn(stage):
    agent = (
        V2
        + """
start_v2()
state("running")
tell("busy")
serve_v2()
"""
    )
    taken = []
    process = stage.start(stage.script(agent))
    process.on_turn = taken.append
    until(lambda: taken)
    assert texts(taken[0].take()) == ["busy"]
    request = PromptRequest("late", "me too")
    with pytest.raises(TimeoutError):
        stage.driver.prompt(CallContext.after(0.05), process, request)
    waiting = gevent.spawn(lambda: list(stage.driver.prompt(soon(), process, request)))
    stage.driver.cancel(soon(), process)
    assert list(taken[0])[-1].stop_reason == "cancelled"
    assert texts(waiting.get(timeout=20)) == ["served"]
    with pytest.raises(PromptInProgressError):
        stage.driver.prompt(soon(), process, stage.prompt(process, "x") and request)


def test_4_9_turns_nobody_takes_end_as_facts_and_hold_nobody_up(stage):
    agent = (
        V2
        + f"""
start_v2()
for number in range({UNCLAIMED_TURNS_MAX + 2}):
    state("running")
    tell("work " + str(number))
    state("idle", stopReason="end_turn")
state("running")
for number in range(400):
    tell("long " + str(number))
state("idle", stopReason="end_turn")
open("worked", "w").close()
serve_v2()
"""
    )
    process = stage.start(stage.script(agent))
    until((stage.cwd / "worked").exists)
    until(lambda: not in_pipe(process))
    assert texts(stage.play(process, "x")) == ["served"]
    facts, taken = [], []
    process.on_event = facts.extend
    process.on_turn = taken.append
    assert texts(facts)[:3] == ["work 0", "work 1", "work 2"]  # the oldest were given up
    assert "long 0" in texts(facts)
    assert texts(taken[0].take()) == ["work 3"]


def test_4_9_the_reader_of_an_own_turn_holds_the_agent_back_too(stage):
    agent = (
        V2
        + """
start_v2()
prompt = read()
send(id=prompt["id"], result={"messageId": "u0"})
state("idle", stopReason="end_turn")
state("running")
for number in range(2000):
    tell(str(number))
state("idle", stopReason="end_turn")
serve_v2()
"""
    )
    taken = []
    process = stage.start(stage.script(agent))
    process.on_turn = taken.append
    assert stage.play(process, "x")[-1].type == "done"
    until(lambda: process.link.is_paused)
    assert texts(list(taken[0])) == [str(number) for number in range(2000)]
    assert not process.link.is_paused


# ---- requests about sessions (07 3)


def test_3_requests_about_sessions_are_answered_or_refused(stage):
    agent = stage.script(
        """
        handshake(sessionCapabilities={"list": {}, "delete": {}})
        while True:
            message = read()
            if message["method"] == "session/list":
                send(id=message["id"], result={"sessions": [{"sessionId": "s-9", "cwd": "/"}]})
            elif message["method"] == "session/delete":
                error = {"code": -32002, "message": "no such session"}
                send(id=message["id"], error=error)
        """
    )
    process = stage.start(agent)
    ask = stage.driver.request
    assert ask(soon(), process, "list_sessions")["sessions"][0]["sessionId"] == "s-9"
    with pytest.raises(RequestError) as refused:
        ask(soon(), process, "delete_session", "s-404")
    assert refused.value.code == -32002
    with pytest.raises(OperationUnavailableError):
        ask(soon(), process, "fork_session")
    with pytest.raises(SessionValueError):
        ask(soon(), process, "make_coffee")


def test_3_an_agent_that_is_gone_answers_its_requests_with_that(stage):
    process = stage.start(
        stage.script(
            """
            handshake(sessionCapabilities={"list": {}})
            read()
            os._exit(0)
            """
        )
    )
    with pytest.raises(RequestError):
        stage.driver.request(soon(), process, "list_sessions")
    silent = stage.start(
        stage.script('handshake(sessionCapabilities={"list": {}})\ntime.sleep(600)\n')
    )
    with pytest.raises(TimeoutError):
        stage.driver.request(CallContext.after(0.05), silent, "list_sessions")


# ---- signs of life (02 12.2)


BUILDER = """
handshake()
while True:
    turn = await_prompt()
    send(id="c", method="terminal/create",
         params={"sessionId": "s-1", "command": "echo one; echo two"})
    terminal = read()["result"]["terminalId"]
    send(id="w", method="terminal/wait_for_exit",
         params={"sessionId": "s-1", "terminalId": terminal})
    read()
    end(turn)
"""


@pytest.mark.parametrize("pace", [0, 3600])
def test_12_2_what_runs_through_us_is_a_sign_of_life(stage, monkeypatch, pace):
    """A build may run for an hour while its agent waits in silence."""
    monkeypatch.setattr(activity, "ACTIVE_PACE_S", pace)
    reports = []
    process = stage.start(stage.script(BUILDER), permissions=PermissionMode.APPROVE_ALL)
    request = PromptRequest("turn-1", "build", activity_reporter=reports.append)
    assert list(stage.driver.prompt(soon(), process, request))[-1].type == "done"
    assert reports[0].kind == "agent_waiting"
    told = {(report.kind, report.detail) for report in reports[1:]}
    assert ("client_call", "terminal/create") in told
    if pace:
        assert len(reports) == 2  # it is enough to know that it lives
    else:
        assert ("client_call", "terminal/wait_for_exit") in told
        assert ("terminal_output", "/bin/sh -c echo one; echo two") in told
    assert texts(stage.play(process, "nobody listens")) == []


def test_9_3_a_vendors_notice_is_a_sign_of_life_and_nothing_else(stage, monkeypatch):
    monkeypatch.setattr(activity, "ACTIVE_PACE_S", 0)
    agent = stage.script(
        """
        handshake()
        turn = await_prompt()
        send(method="_session/retrying", params={"attempt": 3})
        send(method="vendor/heartbeat")
        end(turn)
        serve()
        """
    )
    reports = []
    process = stage.start(agent)
    request = PromptRequest("turn-1", "x", activity_reporter=reports.append)
    *said, done = list(stage.driver.prompt(soon(), process, request))
    assert done.stop_reason == "end_turn"
    assert [event.type for event in said] in ([], ["runtime_warning"])
    assert [(report.kind, report.detail) for report in reports[1:]] == [
        ("agent_notice", "_session/retrying"),
        ("agent_notice", "vendor/heartbeat"),
    ]
