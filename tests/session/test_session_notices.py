"""spec 01 19 and 14: what a host is told, in order; waiting for drains; deleting."""

from __future__ import annotations

import pytest
from gevent.event import Event
from greenroom.actors import SessionNotActiveError, SessionNotFoundError
from greenroom.actors.session import notices as notices_module


class Recorder:
    """A notifier that remembers, and may raise or wait."""

    def __init__(self, on_event=lambda event: None):
        self.told = []
        self._on_event = on_event

    def on_session_created(self, session):
        self.told.append(("created", session.id))

    def on_session_stopped(self, session):
        self.told.append(("stopped", session.state))

    def on_agent_event(self, session_id, event):
        self.told.append((event.type, event.text))
        self._on_event(event)


def test_19_created_events_stopped_in_order(play):
    recorder = Recorder()
    _, session, _ = play(lambda turn: turn.say("hi"), notifier=recorder)
    session.prompt("go").result(timeout=10)
    session.stop()
    assert recorder.told == [
        ("created", session.id),
        ("user_message", "go"),
        ("agent_message", "hi"),
        ("done", ""),
        ("session_stopped", ""),
        ("transcript_marker.created", "Session interrupted by operator."),
        ("stopped", "stopped"),
    ]


def test_19_a_notifier_with_session_replaces_the_plain_one(play):
    class WithSession(Recorder):
        def on_agent_event_for_session(self, session, event):
            self.told.append((session.id, event.type))

    recorder = WithSession()
    _, session, _ = play(lambda turn: None, notifier=recorder)
    session.prompt("go").result(timeout=10)
    assert (session.id, "user_message") in recorder.told
    assert ("user_message", "go") not in recorder.told


def test_19_a_raising_notifier_breaks_nothing(play):
    def fail(event):
        raise ZeroDivisionError("theirs")

    recorder = Recorder(fail)
    manager, session, _ = play(lambda turn: turn.say("hi"), notifier=recorder)
    assert session.prompt("go").result(timeout=10).type == "done"
    assert len(manager.events(session.id)) == 3


def test_19_a_slow_notifier_loses_the_oldest_notices_and_holds_nobody_up(play, monkeypatch):
    monkeypatch.setattr(notices_module, "NOTICES_MAX", 5)
    held = Event()
    recorder = Recorder(lambda event: held.wait())

    def story(turn):
        for n in range(20):
            turn.say(str(n))

    manager, session, _ = play(story, notifier=recorder)
    assert session.prompt("go").result(timeout=10).type == "done"
    manager._hub.post(held.set)
    session.stop()
    texts = [text for kind, text in recorder.told if kind == "agent_message"]
    assert "0" not in texts
    assert recorder.told[-1] == ("stopped", "stopped")


def test_wait_for_prompt_drains_covers_queued_turns(play):
    manager, session, _ = play(lambda turn: turn.say("hi"))
    manager.wait_for_prompt_drains(timeout=1)
    held = Event()
    slow, slow_session, _ = play(lambda turn: held.wait(10))
    slow_session.prompt("one")
    slow_session.send_prompt("two", mode="queue")
    with pytest.raises(TimeoutError):
        slow.wait_for_prompt_drains(timeout=0.05)
    slow._hub.post(held.set)
    slow.wait_for_prompt_drains(timeout=10)
    done = [row for row in slow.events(slow_session.id) if row.type == "done"]
    assert len(done) == 2
    assert session.is_prompting is False


def test_14_delete_stops_and_removes(play):
    manager, session, _ = play(lambda turn: None)
    session.prompt("go").result(timeout=10)
    manager.delete(session.id)
    assert not session.session_dir.exists()
    assert manager.list_all() == ()
    for verb in (manager.delete, manager.status, manager.resume, manager.events):
        with pytest.raises(SessionNotFoundError):
            verb(session.id)
    with pytest.raises(SessionNotFoundError):
        manager.delete("../x")


def test_14_a_session_that_is_just_starting_is_not_deleted(play, tmp_path):
    import threading

    manager, _, driver = play(lambda turn: None)
    reached, go_on = threading.Event(), Event()

    def slow_start(opts):
        reached.set()
        go_on.wait(10)

    driver.on_start = slow_start
    opener = threading.Thread(
        target=lambda: manager.create(agent_name="scripted", workspace_path=str(tmp_path))
    )
    opener.start()
    assert reached.wait(10)
    (starting,) = [info.id for info in manager.list_all() if info.state == "starting"]
    with pytest.raises(SessionNotActiveError):
        manager.delete(starting)
    manager._hub.post(go_on.set)
    opener.join(10)
    assert manager.get(starting) is not None
