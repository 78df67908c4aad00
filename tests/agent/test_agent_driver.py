"""The driver with agents that behave: the demo agent, and the ACP SDK's own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import gevent
import pytest
from greenroom.actors.errors import (
    LoadSessionFailedError,
    OperationUnavailableError,
    PendingPermissionNotFoundError,
    PromptInProgressError,
    SessionValueError,
    error_is,
)
from greenroom.actors.model.agent import ApproveRequest, PermissionMode
from greenroom.actors.model.failure import FailureKind
from greenroom.transport.acp.failures import is_load_session_resource_missing
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.driver import ACPDriver
from greenroom.transport.agent.protocol import (
    AgentDriver,
    AgentProcess,
    DriverStream,
    PromptRequest,
)

TINY = (sys.executable, str(Path(__file__).parent / "sdk_tiny_agent.py"))


def text_of(events):
    return "".join(event.text for event in events if event.type == "agent_message")


def take_until(stream, wanted):
    """Events up to and with the first for which ``wanted`` holds."""
    taken = []
    while batch := stream.take():
        taken += batch
        if any(wanted(event) for event in batch):
            return taken
    raise AssertionError(f"the stream ended first: {taken[-3:]}")


def approve(process, event, decision):
    process.approve_permission(CallContext(), ApproveRequest(decision, request_id=event.request_id))


def is_open_permission(event):
    return event.type == "permission" and not event.decision


def test_what_is_built_is_what_the_session_layer_knows(stage):
    process = stage.start()
    stream = stage.prompt(process, "@@say x")
    assert isinstance(stage.driver, AgentDriver)
    assert isinstance(process, AgentProcess)
    assert isinstance(stream, DriverStream)
    list(stream)


def test_a_started_agent_tells_who_it_is(stage):
    process = stage.start()
    assert process.session_id.startswith("demo-")
    assert process.cwd == str(stage.cwd.resolve())
    assert (process.command, *process.args) == (sys.executable, "-m", "greenroom.transport.demo")
    assert process.caps.supports_steering
    assert process.caps.supports_load_session
    assert process.caps_snapshot() == process.caps
    assert os.getpgid(process.pid) == process.pid
    assert not process.restored


def test_the_story_with_its_permission(stage):
    process = stage.start()
    stream = stage.prompt(process, "what is this?")
    events = take_until(stream, is_open_permission)
    approve(process, events[-1], "allow-once")
    events += list(stream)
    kinds = [event.type for event in events]
    assert {"thought", "plan", "tool_call", "tool_result", "usage"} < set(kinds)
    assert kinds.count("done") == 1
    assert events[-1].stop_reason == "end_turn"
    assert {event.turn_id for event in events} == {"turn-1"}
    assert "A tiny project" in text_of(events)
    assert "ran `ls -la`" in text_of(events)
    decided = [event.decision for event in events if event.type == "permission"]
    assert decided == ["", "allow-once"]
    for call in {event.tool_call_id for event in events if event.type == "tool_result"}:
        own = [event.type for event in events if event.tool_call_id == call]
        assert own.index("tool_call") < own.index("tool_result")


def test_a_rejected_permission(stage):
    process = stage.start()
    stream = stage.prompt(process, "@@run touch made")
    events = take_until(stream, is_open_permission)
    with pytest.raises(PendingPermissionNotFoundError):
        process.approve_permission(
            CallContext(), ApproveRequest("reject-once", request_id="another")
        )
    with pytest.raises(SessionValueError):
        process.approve_permission(CallContext(), ApproveRequest("perhaps", turn_id="turn-1"))
    process.approve_permission(CallContext(), ApproveRequest("reject-once", turn_id="turn-1"))
    events += list(stream)
    assert events[-1].type == "done"
    assert not (stage.cwd / "made").exists()


def test_an_unanswered_permission_is_rejected_after_its_time(stage):
    process = stage.start(driver=ACPDriver(permission_timeout=0.05))
    events = stage.play(process, "@@run touch made")
    assert [e.decision for e in events if e.type == "permission"] == ["", "reject-once"]
    assert not (stage.cwd / "made").exists()


def test_approve_all_asks_nobody_and_writes(stage):
    process = stage.start(permissions=PermissionMode.APPROVE_ALL)
    events = stage.play(process, "@@write sub/made.txt some text\n@@run touch too")
    assert not [event for event in events if is_open_permission(event)]
    assert (stage.cwd / "sub/made.txt").read_text() == "some text"
    assert (stage.cwd / "too").exists()


def test_deny_all_reads_nothing(stage):
    process = stage.start(permissions=PermissionMode.DENY_ALL)
    events = stage.play(process, "@@read README.md\n@@run touch made")
    results = [event for event in events if event.type == "tool_result"]
    assert [event.raw.value["status"] for event in results] == ["failed", "failed"]
    assert not (stage.cwd / "made").exists()


def test_files_outside_the_workspace_stay_there(stage):
    (stage.cwd.parent / "secret").write_text("keep out")
    (stage.cwd / "way").symlink_to(stage.cwd.parent)
    process = stage.start(permissions=PermissionMode.APPROVE_ALL)
    events = stage.play(
        process,
        """
        @@read ../secret
        @@read way/secret
        @@write way/made text
        @@read missing.txt
        """,
    )
    results = [event.raw.value for event in events if event.type == "tool_result"]
    assert [result["status"] for result in results] == ["failed"] * 4
    assert "keep out" not in str(results)
    assert f"Resource not found: {stage.cwd.resolve()}/missing.txt" in str(results[3])
    assert not (stage.cwd.parent / "made").exists()


def test_an_additional_directory_is_part_of_the_workspace(stage):
    other = stage.cwd.parent / "other"
    other.mkdir()
    (other / "there").write_text("in the other")
    process = stage.start(additional_dirs=(str(other), str(stage.cwd), " "))
    events = stage.play(process, f"@@read {other}/there")
    assert "in the other" in str([e.raw.value for e in events if e.type == "tool_result"])


def test_steering_is_injected_into_the_running_turn(stage):
    process = stage.start()
    stream = stage.prompt(process, "@@slow 1000 0.005")
    events = take_until(stream, lambda event: event.type == "agent_message")
    outcome = stage.driver.steer(CallContext(), process, "q-1", "@@say the new course")
    assert outcome == "injected"
    while "the new course" not in text_of(events):
        events += stream.take()
    assert {event.turn_id for event in events} == {"turn-1"}
    stage.driver.cancel(CallContext(), process)
    assert list(stream)[-1].stop_reason == "cancelled"


def test_steering_an_idle_agent_takes_nothing(stage):
    process = stage.start()
    assert stage.driver.steer(CallContext(), process, "q-1", "anyone?") == "not_running"


def test_a_steer_that_is_not_answered_times_out_and_the_turn_goes_on(stage):
    process = stage.start(
        stage.script(
            """
            while True:
                message = read()
                if message["method"] == "initialize":
                    meta = {"steering": {"supported": True}}
                    send(id=message["id"], result={"protocolVersion": 1, "_meta": meta})
                elif message["method"] == "session/new":
                    send(id=message["id"], result={"sessionId": "s-1"})
                elif message["method"] == "session/prompt":
                    say("working")
                    turn = message["id"]
                elif message["method"] == "session/cancel":
                    end(turn, "cancelled")
            """
        )
    )
    stream = stage.prompt(process, "x")
    take_until(stream, lambda event: event.type == "agent_message")
    with pytest.raises(TimeoutError):
        stage.driver.steer(CallContext.after(0.05), process, "q-1", "text")
    stage.driver.cancel(CallContext(), process)
    assert list(stream)[-1].stop_reason == "cancelled"


def test_an_agent_without_steering_refuses_it(stage):
    process = stage.start(stage.script("handshake()\nserve()"))
    with pytest.raises(OperationUnavailableError):
        stage.driver.steer(CallContext(), process, "q-1", "text")


@pytest.mark.parametrize("prompt", ["@@slow 10000 0.005", "@@hang", "@@slow 1 300"])
def test_cancel_ends_a_turn_and_the_next_one_runs(stage, prompt):
    process = stage.start()
    stream = stage.prompt(process, f"@@say begun\n{prompt}")
    take_until(stream, lambda event: event.type == "agent_message")
    stage.driver.cancel(CallContext(), process)
    last = list(stream)[-1]
    assert (last.type, last.stop_reason) == ("done", "cancelled")
    assert not process.suspect
    assert text_of(stage.play(process, "@@say next")) == "next"


def test_r1_d24_cancel_with_a_permission_pending(stage):
    process = stage.start()
    stream = stage.prompt(process, "@@run touch made")
    take_until(stream, is_open_permission)
    stage.driver.cancel(CallContext(), process)
    events = list(stream)
    assert [event.decision for event in events if event.type == "permission"] == ["canceled"]
    assert events[-1].stop_reason == "cancelled"
    assert not (stage.cwd / "made").exists()


def test_d27_r6_a_cancel_nobody_heeds_ends_the_turn_after_its_grace(stage):
    process = stage.start(driver=ACPDriver(cancel_grace=0.1))
    stream = stage.prompt(process, "@@deaf\n@@say begun\n@@slow 1 2")
    take_until(stream, lambda event: event.text == "begun")
    stage.driver.cancel(CallContext(), process)
    last = list(stream)[-1]
    assert last.type == "error"
    assert last.failure.kind is FailureKind.CANCELLATION
    assert process.suspect
    assert stream.suspect
    os.kill(process.pid, signal.SIGKILL)


def test_r4_a_second_prompt_has_to_wait(stage):
    process = stage.start()
    stream = stage.prompt(process, "@@hang")
    with pytest.raises(PromptInProgressError):
        stage.prompt(process, "too early")
    stage.driver.cancel(CallContext(), process)
    list(stream)


def test_a_stream_that_is_over_stays_over(stage):
    stream = stage.prompt(stage.start(), "@@say x")
    assert list(stream)[-1].type == "done"
    assert not stream.take()
    assert list(stream) == []


def test_a_session_survives_the_kill_of_its_agent(stage):
    first = stage.start()
    stage.play(first, "@@say remember")
    stream = stage.prompt(first, "@@say again\n@@hang")
    take_until(stream, lambda event: event.type == "agent_message")
    os.kill(first.pid, signal.SIGKILL)
    last = list(stream)[-1]
    assert last.type == "error"
    assert last.failure.kind is FailureKind.PROCESS_EXIT
    assert first.wait().exit_status == -signal.SIGKILL
    second = stage.start(resume_session_id=first.session_id, permissions=PermissionMode.APPROVE_ALL)
    assert second.restored
    assert second.session_id == first.session_id
    assert second.pid != first.pid
    assert "prompt number 3" in text_of(stage.play(second, "do you know me?"))


def test_a_session_the_agent_does_not_know(stage):
    with pytest.raises(Exception, match="session/load failed") as caught:
        stage.start(resume_session_id="demo-0000000000000000")
    assert caught.value.failure.kind is FailureKind.LOAD_SESSION
    assert error_is(caught.value, LoadSessionFailedError)
    assert is_load_session_resource_missing(caught.value)


def test_r11_session_facts_outside_a_turn_reach_the_sink(stage):
    process = stage.start(
        stage.script(
            """
            def fact(title):
                update = {"sessionUpdate": "session_info_update", "title": title}
                send(method="session/update", params={"sessionId": "s-1", "update": update})
            handshake()
            fact("before")
            request_id = await_prompt()
            end(request_id)
            time.sleep(0.3)
            fact("after")
            serve()
            """
        )
    )
    stage.play(process, "x")
    seen, after = [], gevent.event.Event()

    def take(facts):
        seen.extend(fact.raw.value["title"] for fact in facts)
        if "after" in seen:
            after.set()

    process.on_event = take
    assert after.wait(10)
    assert set(seen) >= {"after"}


def test_prompt_and_stop_of_no_process():
    driver = ACPDriver()
    for process in (None, object()):
        with pytest.raises(SessionValueError):
            driver.stop(CallContext(), process)
        with pytest.raises(SessionValueError):
            driver.prompt(CallContext(), process, PromptRequest("t", "x"))


def test_a_context_that_is_over_starts_nothing(stage):
    ended = CallContext()
    ended.cancel(KeyError("the caller left"))
    with pytest.raises(KeyError):
        stage.start(ctx=ended)
    with pytest.raises(TimeoutError):
        stage.start(ctx=CallContext.after(0))


@pytest.mark.parametrize("text", ["hello from far away", "line one\nline two"])
def test_the_echo_agent_of_the_sdk(stage, sdk_echo_agent, text):
    process = stage.start(sdk_echo_agent)
    for _ in range(2):
        events = stage.play(process, text)
        assert text_of(events) == text
        assert events[-1].stop_reason == "end_turn"
    stage.stop(process)
    assert process.wait() is None


def test_an_agent_on_the_sdk_reads_a_file_through_us(stage):
    events = stage.play(stage.start(TINY), "hi")
    assert text_of(events) == "hi# A tiny project\n"


def test_two_agents_at_once_do_not_mix(stage):
    processes = [stage.start() for _ in range(2)]
    streams = [
        stage.prompt(process, f"@@slow 5 0.01\n@@say agent {number}")
        for number, process in enumerate(processes)
    ]
    found = [gevent.spawn(list, stream) for stream in streams]
    gevent.joinall(found, timeout=20, raise_error=True)
    assert [f"agent {n}" in text_of(g.value) for n, g in enumerate(found)] == [True, True]
    assert text_of(found[0].value).count("agent") == 1
