"""Real agents through the driver: streaming, a tool, a permission, cancel, reload, kill -9."""

from __future__ import annotations

import os
import signal

import pytest
from greenroom.actors.model.agent import ApproveRequest, PermissionMode
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.driver import ACPDriver
from greenroom.transport.agent.groups import group_lives
from greenroom.transport.agent.protocol import PromptRequest, StartOpts

from .recipes import RECIPES, environment, installed
from .stub_model import StubModel, script

pytestmark = [pytest.mark.agents, pytest.mark.timeout(300)]
START_S = 60


class Bench:
    """One agent in a home and a workspace of its own."""

    def __init__(self, name, command, top, url):
        self.recipe = RECIPES[name]
        self.name = name
        self.home, self.workspace = top / "home", top / "ws"
        self.home.mkdir()
        self.workspace.mkdir()
        (self.workspace / "hello.txt").write_text("hello from the workspace\n")
        args = (arg.format(home=self.home) for arg in self.recipe.args)
        self._command = (command, *args)
        self._env = environment(name, self.home, self.workspace, url)
        self.driver = ACPDriver()
        self._started = []
        self._turns = 0

    def start(self, mode=PermissionMode.APPROVE_READS, resume=""):
        opts = StartOpts(
            self.name,
            self._command,
            str(self.workspace),
            env=tuple(self._env.items()),
            inherit_env=False,
            permissions=mode,
            auth_method=self.recipe.auth_method,
            resume_session_id=resume,
        )
        process = self.driver.start(CallContext.after(START_S), opts)
        self._started.append(process)
        return process

    def prompt(self, process, **directives):
        self._turns += 1
        request = PromptRequest(f"turn-{self._turns}", script(**directives))
        return self.driver.prompt(CallContext(), process, request)

    def shell(self, line):
        return self.recipe.shell_tool(line, self.workspace)

    def close(self):
        for process in self._started:
            self.driver.stop(CallContext(), process)
            assert not group_lives(process.pid)


@pytest.fixture(scope="module")
def model():
    with StubModel() as running:
        yield running


@pytest.fixture(params=sorted(RECIPES))
def bench(request, tmp_path, model):
    command, why = installed(request.param)
    if command is None:
        pytest.skip(why)
    made = Bench(request.param, command, tmp_path.resolve(), model.url)
    yield made
    made.close()


def text_of(events):
    return "".join(event.text for event in events if event.type == "agent_message")


def answered(process, stream, decision):
    """All events of a turn, every permission request answered."""
    events = []
    for event in stream:
        events.append(event)
        if event.type == "permission" and not event.decision:
            request = ApproveRequest(decision, request_id=event.request_id)
            process.approve_permission(CallContext(), request)
    return events


def test_streaming(bench):
    process = bench.start()
    events = list(bench.prompt(process, say="one two three"))
    assert "one two three" in text_of(events)
    assert (events[-1].type, events[-1].stop_reason) == ("done", "end_turn")
    assert {event.turn_id for event in events} == {"turn-1"}
    assert "again" in text_of(list(bench.prompt(process, say="again")))


@pytest.mark.parametrize("decision", ["allow-once", "reject-once"])
def test_a_tool_that_needs_a_permission(bench, decision):
    process = bench.start()
    line = "python3 -c 'print(40+2)' > made.txt"
    events = answered(process, bench.prompt(process, tools=[bench.shell(line)]), decision)
    decisions = [event.decision for event in events if event.type == "permission"]
    assert decisions[:2] == ["", decision]
    assert events[-1].type in ("done", "error")
    assert (bench.workspace / "made.txt").exists() is (decision == "allow-once")
    calls = {event.tool_call_id for event in events if event.type == "tool_call"}
    results = [event.tool_call_id for event in events if event.type == "tool_result"]
    assert set(results) <= calls
    assert len(results) == len(set(results))


def test_cancel_of_a_stream(bench):
    process = bench.start()
    stream = bench.prompt(process, slow=[300, 0.1])
    events = []
    while "tick 1" not in text_of(events):
        events += stream.take()
    bench.driver.cancel(CallContext(), process)
    events += list(stream)
    assert events[-1].stop_reason == "cancelled"
    assert "after" in text_of(list(bench.prompt(process, say="after")))


def test_cancel_with_a_permission_open(bench):
    process = bench.start()
    stream = bench.prompt(process, tools=[bench.shell("touch made.txt && cat made.txt")])
    for event in stream:
        if event.type == "permission":
            bench.driver.cancel(CallContext(), process)
            break
    events = list(stream)
    assert [e.decision for e in events if e.type == "permission"] == ["canceled"]
    assert events[-1].type in ("done", "error")
    assert not (bench.workspace / "made.txt").exists()


def test_reload_after_kill_9(bench):
    first = bench.start()
    list(bench.prompt(first, say="remember this"))
    stream = bench.prompt(first, slow=[300, 0.1])
    stream.take()
    os.kill(first.pid, signal.SIGKILL)
    assert list(stream)[-1].type == "error"
    assert first.wait().exit_status == -signal.SIGKILL
    second = bench.start(resume=first.session_id)
    assert second.restored
    assert second.session_id == first.session_id
    assert "and on" in text_of(list(bench.prompt(second, say="and on")))


def test_a_model_that_fails_ends_the_turn_or_can_be_cancelled(bench):
    process = bench.start()
    stream = bench.prompt(process, fail=401)
    events = list(stream)
    assert events[-1].type in ("done", "error")
