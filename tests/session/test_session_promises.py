"""What is easily got wrong in sessions: each promise by name, through whole sessions."""

from __future__ import annotations

import threading

import pytest
from gevent.event import Event
from greenroom.actors import (
    SessionError,
    SessionInputQueueFullError,
    SessionManager,
    State,
    StopReason,
)
from greenroom.actors.model.settings import SessionBusyInputConfig
from greenroom.actors.testing.driver import ScriptedDriver

CAP = 50
WIDE = SessionBusyInputConfig(queue_cap=CAP)


class Stage:
    """A story that waits at prompts named "hold" until it is released or cancelled."""

    def __init__(self):
        self.gate, self.told, self.steered = Event(), [], []

    def __call__(self, turn):
        self.told.append(turn.request.message)
        if turn.request.message.startswith("hold"):
            while not (self.gate.is_set() or turn.cancelled.is_set()):
                Event().wait(0.01)
        if turn.request.message.endswith("tool"):
            turn.use_tool("edit")
            while not turn.steered:
                Event().wait(0.01)
            self.steered.extend(turn.steered)
        if turn.cancelled.is_set():
            turn.fail("the provider noticed the cancel")

    def release(self, manager):
        manager._hub.post(self.gate.set)


def until(holds):
    waited = threading.Event()
    for _ in range(4000):
        if holds():
            return
        waited.wait(0.005)
    raise AssertionError("it did not happen")


@pytest.fixture
def stage():
    return Stage()


def at_once(count, work):
    """Run ``work(n)`` in so many threads that start together."""
    barrier = threading.Barrier(count)

    def run(n):
        barrier.wait(10)
        work(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def inputs_of(manager, session):
    return [row.event.text for row in manager.events(session.id, type="user_message")]


def titles(manager, session):
    rows = manager.events(session.id, type="transcript_marker.created")
    return [row.event.title.removeprefix("transcript_marker.") for row in rows]


def test_steering_really_arrives_at_the_tool_boundary(play, stage):
    manager, session, _ = play(stage)
    stream = session.prompt("hold, then use a tool")
    session.steer("to the left")
    stage.release(manager)
    assert stream.result(timeout=10).type == "done"
    assert stage.steered == ["to the left"]
    assert stage.told == ["hold, then use a tool"], "it ran inside the turn, not after it"
    steered = manager.events(session.id, type="user_message")[1].event
    assert (steered.text, steered.action) == ("to the left", "prompt_steered")
    assert steered.turn_id == stream.turn_id


def test_no_double_dispatch_and_no_stranded_queue_entry(play, stage):
    manager, session, _ = play(stage, session_busy_input_config=WIDE)
    session.prompt("hold")
    sent = []

    def send(n):
        result = session.send_prompt(f"p{n}", mode="queue")
        sent.append((result.queue_position, f"p{n}"))
        if n == 4:
            stage.release(manager)

    at_once(8, send)
    until(lambda: len(stage.told) == 9 and not session.is_prompting)
    assert sorted(stage.told[1:]) == sorted(f"p{n}" for n in range(8))
    assert inputs_of(manager, session) == stage.told
    assert manager.input_queue_summary(session.id).pending_inputs == 0


def test_an_enqueue_that_races_with_the_end_of_a_turn_is_never_stranded(play, stage):
    manager, session, _ = play(stage, session_busy_input_config=WIDE)
    stage.gate.set()
    for n in range(20):
        at_once(2, lambda k, n=n: session.send_prompt(f"{n}-{k}", mode="queue"))
    until(lambda: len(stage.told) == 40 and not session.is_prompting)
    assert len(set(stage.told)) == 40
    assert manager.input_queue_summary(session.id).pending_inputs == 0


def test_the_fence_is_atomic(play, stage):
    """Queued input is sent, or cancelled by the interrupt; none is left that nobody can claim."""
    manager, session, _ = play(stage, session_busy_input_config=WIDE)
    cancelled = []
    for n in range(5):
        until(lambda: not session.is_prompting)
        stage.gate.clear()
        session.prompt(f"hold {n}")

        def work(k, n=n):
            if k == 3:
                cancelled.append(session.interrupt().canceled_queued_entries)
            else:
                session.send_prompt(f"{n}-{k}", mode="queue")

        at_once(6, work)
        until(lambda: not session.is_prompting)
    sent = [text for text in stage.told if not text.startswith("hold")]
    assert len(sent) + sum(cancelled) == 25
    assert len(set(sent)) == len(sent)
    assert manager.input_queue_summary(session.id).pending_inputs == 0


def test_queued_input_survives_a_restart_and_goes_on_after_resume(tmp_path):
    def runtime(story):
        return SessionManager(
            home=tmp_path / "home",
            driver=ScriptedDriver(story),
            agents={"scripted": ["scripted"]},
        )

    stage = Stage()
    first = runtime(stage)
    session = first.create(agent_name="scripted", workspace_path=str(tmp_path))
    session.prompt("hold")
    for text in ("one", "two"):
        session.send_prompt(text, mode="queue")
    first.close()
    assert stage.told == ["hold"]
    again = Stage()
    with runtime(again) as second:
        resumed = second.resume(session.id)
        until(lambda: again.told == ["one", "two"] and not resumed.is_prompting)
        assert inputs_of(second, session) == ["hold", "one", "two"]
    third = Stage()
    with runtime(third) as last:
        last.resume(session.id)
        assert last.input_queue_summary(session.id).pending_inputs == 0
    assert third.told == [], "what reached the history is not sent again"


def test_markers_are_never_lost(play, stage):
    manager, session, _ = play(stage, session_busy_input_config=SessionBusyInputConfig(queue_cap=1))
    session.interrupt()
    first = session.prompt("hold")
    entry = session.send_prompt("queued", mode="queue").queue_entry_id
    with pytest.raises(SessionInputQueueFullError):
        session.send_prompt("too many", mode="queue")
    session.cancel_queued(entry)
    session.steer("left")
    stage.release(manager)
    first.result(timeout=10)
    until(lambda: stage.told == ["hold", "left"] and not session.is_prompting)
    session.stop()
    assert titles(manager, session) == [
        "prompt_interrupted",
        "prompt_queued",
        "prompt_dropped",
        "prompt_dropped",
        "prompt_steered",
        "prompt_steered",
        "prompt_interrupted",
    ]
    rows = manager.events(session.id, type="transcript_marker.created")
    assert all(row.turn_id for row in rows)


def test_a_cancelled_turn_is_not_also_a_provider_failure(play, stage):
    manager, session, _ = play(stage)
    stream = session.prompt("hold")
    session.cancel(timeout=10)
    session.cancel(timeout=10)
    assert stream.result(timeout=10).type == "error"
    until(lambda: not session.is_prompting)
    assert titles(manager, session) == ["prompt_cancel"]
    assert session.state is State.ACTIVE


def test_a_caller_that_does_not_read_never_stalls_the_turn(play):
    def story(turn):
        for n in range(2000):
            turn.say(str(n))

    manager, session, _ = play(story, prompt_buffer_size=4)
    assert session.prompt("go").result(timeout=30).type == "done"
    assert len(manager.events(session.id, type="agent_message")) == 2000
    assert session.prompt("again").result(timeout=30).type == "done"


@pytest.mark.parametrize(
    "point", ["at once", "prompting", "queued", "after a turn", "cancelled", "from two threads"]
)
def test_a_resumed_session_can_be_stopped_and_finalized_at_any_point(play, stage, point):
    manager, session, driver = play(stage)
    session.stop()
    for _ in range(2):
        resumed = manager.resume(session.id)
        match point:
            case "prompting":
                resumed.prompt("hold")
            case "queued":
                for text in ("hold", "later"):
                    resumed.send_prompt(text, mode="queue")
            case "after a turn":
                resumed.prompt("quick").result(timeout=10)
            case "cancelled":
                resumed.prompt("hold")
                resumed.cancel(timeout=10)
        if point == "from two threads":
            outcomes = []

            def stop(n, resumed=resumed, outcomes=outcomes):
                try:
                    resumed.stop(timeout=10)
                    outcomes.append("stopped")
                except SessionError as error:
                    outcomes.append(type(error).__name__)

            at_once(2, stop)
            assert set(outcomes) <= {"stopped", "SessionNotFoundError"}
            assert "stopped" in outcomes
        else:
            resumed.stop(timeout=10)
        assert manager.get(session.id) is None
        info = manager.status(session.id)
        assert (info.state, info.stop_reason) == (State.STOPPED, StopReason.USER_CANCELED)
    stops = manager.events(session.id, type="session_stopped")
    assert len(stops) == 3, "one per incarnation"
    assert all(process.done.is_set() for process in driver.processes)
    rows = manager.events(session.id)
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
