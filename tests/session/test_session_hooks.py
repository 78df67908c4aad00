"""spec 01 10.4, 02 3-6, 15, 06 1: hooks of a host around a whole session with a scripted agent."""

from __future__ import annotations

import threading

import pytest
from gevent import sleep
from gevent.event import Event
from greenroom.actors import (
    HookDeniedError,
    HookFailedError,
    HookSet,
    PermissionDeniedError,
    SessionError,
    State,
    error_is,
)
from greenroom.actors.testing.driver import ScriptedDriver
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.deciders import ToolRequest

GROUPS = ("session", "prompt", "agent", "conversation", "events")


class Recorder:
    """All groups in one object: remembers every dispatch; a test replaces what it wants."""

    def __init__(self):
        self.told = []
        self.answers = {}

    def __getattr__(self, name):
        if not name.startswith("dispatch_"):
            raise AttributeError(name)

        def dispatch(payload):
            detail = getattr(payload, "record_type", "")
            self.told.append(str(payload.event) + (f":{detail}" if detail else ""))
            answer = self.answers.get(payload.event)
            return answer(payload) if answer else None

        return dispatch

    def hooks(self, *groups):
        return HookSet(**dict.fromkeys(groups or GROUPS, self))


def changed(**fields):
    from dataclasses import replace

    return lambda payload: replace(payload, **fields)


def raises(payload):
    raise RuntimeError("a bug of the host")


def hangs(payload):
    sleep(0)
    Event().wait()


def until(holds):
    waited = threading.Event()
    for _ in range(2000):
        if holds():
            return
        waited.wait(0.005)
    raise AssertionError("it did not happen")


def test_15_and_10_4_the_order_of_a_life(play):
    recorder = Recorder()
    manager, session, _ = play(lambda turn: turn.say("hi"), hooks=recorder.hooks())
    session.prompt("go").result(timeout=10)
    manager.wait_for_prompt_drains(timeout=10)
    until(lambda: "turn.end" in recorder.told)
    session.stop()
    turn = [
        "input.pre_submit",
        "turn.start",
        "event.pre_record:user_message",
        "event.post_record:user_message",
        "message.start",
        "message.delta",
        "event.pre_record:agent_message",
        "event.post_record:agent_message",
        "session.message_persisted",
        "message.end",
        "event.pre_record:done",
        "event.post_record:done",
        "turn.end",
    ]
    start = [
        "session.pre_create",
        "prompt.post_assemble",
        "agent.pre_start",
        "agent.spawned",
        "session.post_create",
    ]
    stop = [
        "session.pre_stop",
        "event.pre_record:session_stopped",
        "event.pre_record:transcript_marker.created",
        "event.post_record:session_stopped",
        "event.post_record:transcript_marker.created",
        "agent.stopped",
        "session.post_stop",
    ]
    assert recorder.told == [*start, *turn, *stop]


@pytest.mark.parametrize("answer", [raises, changed(deny=True, deny_reason="no"), hangs])
@pytest.mark.parametrize("event", ["input.pre_submit", "turn.start"])
def test_a2_a3_a_gate_that_raises_denies_or_hangs(play, event, answer):
    recorder = Recorder()
    manager, session, _ = play(
        lambda turn: turn.say("hi"),
        hooks=recorder.hooks("prompt", "conversation"),
        hook_timeout=0.2,
    )
    recorder.answers[event] = answer
    denies = answer not in (raises, hangs)
    if event == "turn.start" and denies:
        assert session.prompt("x").result(timeout=10).type == "done", "its denial is ignored"
        return
    with pytest.raises(HookDeniedError if denies else HookFailedError) as raised:
        session.prompt("x")
    assert raised.value.event == event
    assert raised.value.session_id == session.id
    if answer is hangs:
        assert error_is(raised.value, TimeoutError)
    if denies:
        assert raised.value.reason == "no"
    assert manager.events(session.id) == ()
    recorder.answers.clear()
    assert session.prompt("y").result(timeout=10).type == "done"
    assert recorder.told.count("turn.start") == recorder.told.count("turn.end")


def test_a2_the_patched_message_is_stored_and_sent(play):
    recorder = Recorder()
    recorder.answers["input.pre_submit"] = changed(message="patched")
    sent = []
    manager, session, driver = play(None, hooks=recorder.hooks("prompt"))
    driver.story = lambda turn: sent.append(turn.request.message)
    session.prompt("x").result(timeout=10)
    assert sent == ["patched"]
    assert manager.events(session.id)[0].event.text == "patched"


def test_a2_a_hook_may_call_the_manager_for_its_own_session(play):
    """spec 02 17: and does not deadlock."""
    recorder = Recorder()
    manager, session, _ = play(lambda turn: None, hooks=recorder.hooks("prompt"))
    seen = []

    def look(payload):
        seen.append((session.is_prompting, manager.status(session.id).state))

    recorder.answers["input.pre_submit"] = look
    session.prompt("x").result(timeout=10)
    assert seen == [(True, State.ACTIVE)]


def test_p5_p6_message_hooks_see_redacted_text_and_may_replace_the_first_chunk(play):
    recorder = Recorder()
    texts = []

    def look(payload):
        texts.append((str(payload.event), payload.message_id[-9:], payload.text))

    def first(payload):
        look(payload)
        return changed(text="HELLO ")(payload)

    recorder.answers.update({"message.start": first, "message.delta": look, "message.end": look})

    def story(turn):
        turn.say("api_key=sk-abcdefghijklmnopqrstuvwxyz123456 ")
        turn.say("world")
        turn.use_tool("x")
        turn.say("again")

    manager, session, _ = play(story, hooks=recorder.hooks("conversation"))
    session.prompt("x").result(timeout=10)
    assert "sk-abcdef" not in repr(texts)
    assert [entry for entry in texts if entry[0] == "message.end"] == [
        ("message.end", "message-1", "HELLO world"),
        ("message.end", "message-2", "HELLO "),
    ]
    said = [row.event.text for row in manager.events(session.id, type="agent_message")]
    assert said == ["HELLO ", "world", "HELLO "]


def test_4_observations_that_raise_or_hang_are_logged_and_hold_nothing_up(play, caplog):
    recorder = Recorder()
    for event in ("message.start", "message.end", "turn.end", "session.post_stop"):
        recorder.answers[event] = raises
    for event in ("message.delta", "event.post_record"):
        recorder.answers[event] = hangs
    _, session, _ = play(lambda turn: turn.say("hi"), hooks=recorder.hooks(), hook_timeout=30)
    assert [event.type for event in session.prompt("x")] == ["agent_message", "done"]
    session.stop(timeout=10)
    assert "session: hook dispatch failed" in caplog.text


def test_9_4_a_denied_stop_and_one_that_can_not_be_denied(play):
    recorder = Recorder()
    recorder.answers["session.pre_stop"] = changed(deny=True, deny_reason="not now")
    manager, session, _ = play(lambda turn: turn.say("hi"), hooks=recorder.hooks("session"))
    with pytest.raises(HookDeniedError, match="not now"):
        session.stop()
    assert session.state is State.ACTIVE
    assert session.prompt("x").result(timeout=10).type == "done"
    manager.close()
    assert session.state is State.STOPPED, "a runtime that closes is not held by a hook"


def test_10_1_the_end_is_complete_only_after_post_stop_and_resume_waits_for_it(play):
    recorder, gate, reached = Recorder(), Event(), threading.Event()
    manager, session, _ = play(lambda turn: None, hooks=recorder.hooks("session"))

    def hold(payload):
        reached.set()
        gate.wait()

    recorder.answers["session.post_stop"] = hold
    stopped, resumed = threading.Event(), []
    stopper = threading.Thread(target=lambda: (session.stop(), stopped.set()))
    stopper.start()
    assert reached.wait(10)
    assert manager.get(session.id) is None, "it is not found any more"
    resumer = threading.Thread(target=lambda: resumed.append(manager.resume(session.id)))
    resumer.start()
    assert not stopped.is_set()
    with pytest.raises(TimeoutError):
        manager.wait_for_finalizations(timeout=0.05)
    assert resumed == []
    manager._hub.post(gate.set)
    stopper.join(10)
    resumer.join(10)
    assert stopped.is_set()
    assert resumed[0].state is State.ACTIVE
    assert recorder.told[-2:] == ["session.pre_resume", "session.post_resume"]


def test_1_3_pre_create_and_pre_start_change_what_is_started(play, tmp_path):
    recorder = Recorder()
    manager, _, driver = play(lambda turn: None, hooks=recorder.hooks())
    recorder.answers["session.pre_create"] = changed(session_name="renamed")
    recorder.answers["agent.pre_start"] = changed(command="other", args=("a", " ", "b"))
    recorder.answers["prompt.post_assemble"] = changed(prompt="  be kind  ")
    started = []
    driver.on_start = started.append
    second = manager.create(agent_name="scripted", workspace_path=str(tmp_path))
    assert second.meta().name == "renamed"
    assert started[0].command == ("other", "a", "b")
    assert started[0].system_prompt == "be kind"


@pytest.mark.parametrize(
    ("event", "remains"),
    [("session.pre_create", 0), ("prompt.post_assemble", 0), ("agent.pre_start", 1)],
)
def test_7_1_a_gate_that_fails_ends_the_start_at_its_step(play, tmp_path, event, remains):
    recorder = Recorder()
    manager, session, driver = play(lambda turn: None, hooks=recorder.hooks())
    recorder.answers[event] = raises
    with pytest.raises(HookFailedError) as raised:
        manager.create(agent_name="scripted", workspace_path=str(tmp_path))
    assert raised.value.event == event
    others = [info for info in manager.list_all() if info.id != session.id]
    assert len(others) == remains
    assert len(driver.processes) == 1
    if remains:
        (info,) = others
        assert (info.state, info.failure.kind) == (State.STOPPED, "startup_failure")
        assert info.failure.summary.startswith("session pre-start hook failed")


def test_8_a_denied_resume_leaves_the_stored_session_as_it_was(play):
    recorder = Recorder()
    manager, session, _ = play(lambda turn: None, hooks=recorder.hooks("session"))
    session.stop()
    before = session.meta_path.read_bytes()
    recorder.answers["session.pre_resume"] = changed(deny=True)
    with pytest.raises(HookDeniedError):
        manager.resume(session.id)
    assert session.meta_path.read_bytes() == before
    recorder.answers.clear()
    assert manager.resume(session.id).state is State.ACTIVE


def test_1_3_agent_crashed_comes_before_agent_stopped(play):
    recorder = Recorder()
    errors = []

    def note(payload):
        errors.append((str(payload.event), bool(payload.error), payload.pid > 0))

    recorder.answers["agent.crashed"] = recorder.answers["agent.stopped"] = note
    manager, session, _ = play(lambda turn: turn.exit(3), hooks=recorder.hooks("agent"))
    session.prompt("x").result(timeout=10)
    manager.wait_for_finalizations(timeout=10)
    assert errors == [("agent.crashed", True, True), ("agent.stopped", True, True)]


def test_1_1_a_hook_set_is_checked(play):
    from greenroom.actors import SessionManager, SessionValueError

    for options in ({"hooks": object()}, {"hook_timeout": 0}):
        with pytest.raises(SessionValueError):
            SessionManager(home="/nowhere", **options)


def test_a_hook_that_gives_back_something_else_failed(play):
    recorder = Recorder()
    recorder.answers["input.pre_submit"] = lambda payload: "yes"
    _, session, _ = play(lambda turn: None, hooks=recorder.hooks("prompt"))
    with pytest.raises(SessionError, match="gave back a str"):
        session.prompt("x")


def test_2_the_augmented_text_goes_to_the_agent_alone(play):
    sent = []
    manager, session, driver = play(
        None, prompt_input_augmenter=lambda session, message: f"{message} + {session.id}"
    )
    driver.story = lambda turn: sent.append(turn.request.message)
    session.prompt("x").result(timeout=10)
    assert sent == [f"x + {session.id}"]
    assert manager.events(session.id)[0].event.text == "x"


@pytest.mark.parametrize(
    ("answer", "sent"), [(lambda s, m: " ", "x"), (raises, None), (hangs, None)]
)
def test_a7_an_augmenter_that_says_nothing_raises_or_hangs(play, answer, sent):
    prompts = []
    augment = answer if sent else lambda session, message: answer(message)
    manager, session, driver = play(None, prompt_input_augmenter=augment, hook_timeout=0.2)
    driver.story = lambda turn: prompts.append(turn.request.message)
    if sent:
        session.prompt("x").result(timeout=10)
        assert prompts == ["x"]
        return
    with pytest.raises(SessionError, match="augment prompt input") as raised:
        session.prompt("x")
    assert error_is(raised.value, RuntimeError if answer is raises else TimeoutError)
    assert [row.type for row in manager.events(session.id)] == ["user_message", "error"]
    assert prompts == []


def test_a7_a_cancel_ends_the_wait_for_the_augmenter(play):
    from greenroom.actors import PromptCanceledError

    reached = threading.Event()

    def hold(session, message):
        reached.set()
        Event().wait()

    _, session, _ = play(lambda turn: None, prompt_input_augmenter=hold, hook_timeout=60)
    outcome = []

    def prompt():
        try:
            session.prompt("x")
        except SessionError as error:
            outcome.append(type(error))

    caller = threading.Thread(target=prompt)
    caller.start()
    assert reached.wait(10)
    session.cancel(timeout=10)
    caller.join(10)
    assert outcome == [PromptCanceledError]


def test_6_the_turn_end_notifier_may_prompt_before_queued_input(play):
    told, gate = [], Event()

    def story(turn):
        told.append(turn.request.message)
        if turn.request.message == "first":
            gate.wait(10)

    manager, session, _ = play(story)

    def notify(session_id):
        if told == ["first"]:
            manager.prompt(session_id, "notified")

    manager.set_turn_end_notifier(notify)
    stream = session.prompt("first")
    session.send_prompt("queued", mode="queue")
    manager._hub.post(gate.set)
    assert stream.result(timeout=10).type == "done"
    until(lambda: len(told) == 3)
    manager.wait_for_prompt_drains(timeout=10)
    assert told == ["first", "notified", "queued"]


def test_6_a_notifier_that_raises_is_logged_and_can_be_taken_away(play, caplog):
    manager, session, _ = play(lambda turn: None)
    manager.set_turn_end_notifier(raises)
    session.prompt("x").result(timeout=10)
    manager.wait_for_prompt_drains(timeout=10)
    until(lambda: "turn end notifier failed" in caplog.text)
    manager.set_turn_end_notifier(None)
    assert session.prompt("y").result(timeout=10).type == "done"


def test_3_a_prompt_whose_caller_gives_up_waiting_is_taken_back(play):
    recorder = Recorder()
    recorder.answers["input.pre_submit"] = hangs
    manager, session, _ = play(lambda turn: None, hooks=recorder.hooks("prompt"), hook_timeout=60)
    with pytest.raises(TimeoutError):
        session.prompt("x", timeout=0.05)
    recorder.answers.clear()
    until(lambda: not session.is_prompting)
    assert session.prompt("y").result(timeout=10).type == "done"
    assert manager.events(session.id)[0].event.text == "y"


class TestGateway:
    """spec 02 14.4, 06 1.6: what the driver asks before it serves a tool call."""

    @staticmethod
    def gateway(play, recorder):
        options = []

        class Looking(ScriptedDriver):
            def start(self, ctx, opts):
                options.append(opts)
                return super().start(ctx, opts)

        _, session, _ = play(None, driver=Looking(lambda turn: None), hooks=recorder.hooks("tools"))
        return options[0].gateway, session

    def test_it_is_there_only_for_a_host_that_listens(self, play):
        gateway, _ = self.gateway(play, Recorder())
        assert gateway is not None
        options = []
        driver = ScriptedDriver(lambda turn: None)
        driver.on_start = options.append
        play(None, driver=driver)
        assert options[0].gateway is None

    def test_it_may_change_the_input(self, play):
        recorder = Recorder()
        recorder.answers["tool.pre_call"] = changed(tool_input={"path": "b"})
        gateway, session = self.gateway(play, recorder)
        served = session._manager._hub.call(
            gateway.intercept, CallContext(), ToolRequest("Read", True, {"path": "a"}, "turn-1")
        )
        assert served == ToolRequest("Read", True, {"path": "b"}, "turn-1")

    @pytest.mark.parametrize(
        ("answer", "error"),
        [(changed(deny=True), PermissionDeniedError), (raises, PermissionDeniedError)],
    )
    def test_it_may_refuse(self, play, answer, error):
        recorder = Recorder()
        recorder.answers["tool.pre_call"] = answer
        gateway, session = self.gateway(play, recorder)
        with pytest.raises(error):
            session._manager._hub.call(
                gateway.intercept, CallContext(), ToolRequest("Bash", False, {}, "")
            )


def test_a_hook_that_can_not_keep_up_loses_the_oldest_and_it_is_logged(play, monkeypatch, caplog):
    from greenroom.actors.session import hook_runner

    monkeypatch.setattr(hook_runner, "HOOKS_WAITING_MAX", 5)
    recorder, gate, seen = Recorder(), Event(), []

    def slow(payload):
        seen.append(payload.sequence)
        gate.wait()

    recorder.answers["event.post_record"] = slow

    def story(turn):
        for n in range(30):
            turn.say(str(n))

    manager, session, _ = play(story, hooks=recorder.hooks("events"), hook_timeout=60)
    assert session.prompt("x").result(timeout=10).type == "done"
    manager._hub.post(gate.set)
    until(lambda: "a slow hook lost" in caplog.text)
    assert seen[-1] == 32, "the newest are kept"
    assert len(seen) < 32
