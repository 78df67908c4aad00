"""spec 02 2, 10: prompts of the daemon and of the network, end to end with a scripted agent."""

from __future__ import annotations

import threading

import pytest
from gevent.event import Event
from greenroom.actors import (
    PromptInProgressError,
    PromptMeta,
    PromptNetworkMeta,
    PromptSyntheticMeta,
    SessionInputQueueFullError,
    SessionNotActiveError,
)
from greenroom.actors.core.synthetic import SYNTHETIC_QUEUE_MAX
from greenroom.actors.testing.driver import ScriptedDriver

META = PromptSyntheticMeta(reason="nightly", task_run_id="run-7", workflow_id="flow-1")


class Stage:
    """A story that stops at every prompt named "hold" until it is released."""

    def __init__(self):
        self.gate, self.told = Event(), []

    def __call__(self, turn):
        self.told.append(turn.request.message)
        turn.say(f"re: {turn.request.message}")
        if turn.request.message == "hold":
            while not (self.gate.is_set() or turn.cancelled.is_set()):
                Event().wait(0.01)

    def release(self, manager):
        manager._hub.post(self.gate.set)


def until(holds):
    waited = threading.Event()
    for _ in range(2000):
        if holds():
            return
        waited.wait(0.005)
    raise AssertionError("it did not happen")


@pytest.fixture
def stage():
    return Stage()


def texts(stream):
    return [event.text or event.type for event in stream]


def test_10_an_idle_session_runs_it_at_once_with_its_correlation(play, stage):
    manager, session, _ = play(stage)
    stream = session._manager.prompt_synthetic(session.id, message="wake up", metadata=META)
    assert texts(stream) == ["re: wake up", "done"]
    rows = manager.events(session.id)
    assert [row.type for row in rows] == ["synthetic_reentry", "agent_message", "done"]
    assert rows[0].event.synthetic == META.as_json()
    for row in rows:
        event = row.event
        assert (event.run_id, event.workflow_id, event.scheduler_reason) == (
            "run-7",
            "flow-1",
            "nightly",
        )


def test_10_busy_ones_wait_behind_durable_input_in_their_order(play, stage):
    manager, session, _ = play(stage)
    first = session.prompt("hold")
    waiting = [
        manager.prompt_synthetic(session.id, message=f"s{n}", metadata=META) for n in range(2)
    ]
    session.send_prompt("queued", mode="queue")
    stage.release(manager)
    assert first.result(timeout=10).type == "done"
    assert [texts(stream) for stream in waiting] == [["re: s0", "done"], ["re: s1", "done"]]
    assert stage.told == ["hold", "queued", "s0", "s1"]


def test_10_skip_if_busy_is_refused_and_nothing_is_sent(play, stage):
    manager, session, _ = play(stage)
    session.prompt("hold")
    with pytest.raises(PromptInProgressError):
        manager.prompt_synthetic(session.id, message="x", metadata=META, skip_if_busy=True)
    stage.release(manager)
    manager.wait_for_prompt_drains(timeout=10)
    assert stage.told == ["hold"]


def test_10_it_interrupts_an_agent_that_only_waits(play, stage):
    from datetime import UTC, datetime

    from greenroom.transport.agent.protocol import PromptActivityReport

    reporters = []

    class Reporting(ScriptedDriver):
        def prompt(self, ctx, process, request):
            reporters.append(request.activity_reporter)
            return super().prompt(ctx, process, request)

    manager, session, _ = play(None, driver=Reporting(stage))
    first = session.prompt("hold")
    assert first.next(timeout=10).text == "re: hold"
    reporters[0](PromptActivityReport(datetime.now(UTC)))
    until(lambda: session._live.state.watch.kind == "agent_waiting")
    stream = manager.prompt_synthetic(
        session.id, message="now", metadata=META, interrupt_if_agent_waiting=True
    )
    assert texts(stream) == ["re: now", "done"]
    titles = [row.event.title for row in manager.events(session.id) if row.event.title]
    assert titles == ["transcript_marker.prompt_cancel"]
    markers = [row.event.raw.value for row in manager.events(session.id) if row.event.title]
    assert markers[0]["evidence"] == {"source": "synthetic"}


def test_10_it_does_not_interrupt_an_agent_at_work(play, stage):
    manager, session, _ = play(stage)
    first = session.prompt("hold")
    first.next(timeout=10)
    stream = manager.prompt_synthetic(
        session.id, message="later", metadata=META, interrupt_if_agent_waiting=True
    )
    stage.release(manager)
    assert texts(first) == ["done"]
    assert texts(stream) == ["re: later", "done"]


def test_10_a_stop_tells_those_that_wait_with_one_event_each_and_stores_nothing(play, stage):
    manager, session, _ = play(stage)
    session.prompt("hold")
    waiting = [
        manager.prompt_synthetic(session.id, message=f"s{n}", metadata=META) for n in range(2)
    ]
    session.stop()
    for stream in waiting:
        (event,) = list(stream)
        assert (event.type, event.turn_id) == ("error", stream.turn_id)
        assert "synthetic prompt dropped" in event.error
    stored = {row.turn_id for row in manager.events(session.id)}
    assert not stored & {stream.turn_id for stream in waiting}
    with pytest.raises(SessionNotActiveError):
        manager.prompt_synthetic(session.id, message="x", metadata=META)


def test_10_the_queue_is_bounded(play, stage):
    manager, session, _ = play(stage)
    session.prompt("hold")
    for n in range(SYNTHETIC_QUEUE_MAX):
        manager.prompt_synthetic(session.id, message=str(n), metadata=META)
    with pytest.raises(SessionInputQueueFullError) as raised:
        manager.prompt_synthetic(session.id, message="one too many", metadata=META)
    assert raised.value.queue_cap == SYNTHETIC_QUEUE_MAX


def test_10_a_reader_that_does_not_read_stalls_nothing(play):
    def story(turn):
        for n in range(50):
            turn.say(str(n))

    manager, session, _ = play(story, prompt_buffer_size=5)
    streams = [
        manager.prompt_synthetic(session.id, message=str(n), metadata=META) for n in range(3)
    ]
    assert [stream.result(timeout=10).type for stream in streams] == ["done"] * 3


def test_10_a_turn_id_that_is_given_is_used(play, stage):
    manager, session, _ = play(stage)
    stream = manager.prompt_synthetic(
        session.id, message="x", metadata=META.as_json(), turn_id=" turn-mine "
    )
    assert stream.turn_id == "turn-mine"
    assert stream.result(timeout=10).type == "done"


def test_2_a_network_prompt_carries_its_metadata_to_the_agent(play):
    seen = []

    def story(turn):
        seen.append((dict(turn.request.meta), session.current_prompt_meta))

    manager, session, _ = play(story)
    told = PromptNetworkMeta(message_id="m-1", from_="peer")
    manager.prompt_network(session.id, "hi", told).result(timeout=10)
    network = {"message_id": "m-1", "from": "peer"}
    ((meta, current),) = seen
    assert meta == {"turn_source": "network", "network": network}
    assert current == PromptMeta("network", network=told)
    assert manager.events(session.id)[0].type == "user_message"
    until(lambda: not session.is_prompting)
    assert session.current_prompt_meta == PromptMeta()


def test_2_prompt_with_opts(play):
    seen = []

    def story(turn):
        seen.append(session.current_turn_source)

    manager, session, _ = play(story)
    for source in ("", "user", "network"):
        manager.prompt_with_opts(session.id, message="x", turn_source=source).result(timeout=10)
        until(lambda: not session.is_prompting)
    assert seen == ["user", "user", "network"]
