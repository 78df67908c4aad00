"""03 7, 15: what a read of a session sees, live, stopping, stopped, or half cleared."""

from __future__ import annotations

import threading

import pytest
from greenroom.actors import SessionManager, SessionNotFoundError, StoreValidationError
from greenroom.storage.failpoints import FailPoint, arm, disarm


def test_7_pages_of_a_follower_skip_nothing(manager, session):
    """Improve: a limit with a cursor pages forward from it when the head is asked for."""
    session.prompt("@@say one\n@@say two").result(timeout=20)
    rows = manager.events(session.id)
    paged, at = [], 0
    while page := manager.events(session.id, after_sequence=at, limit=2, order="head"):
        assert len(page) <= 2
        paged += page
        at = page[-1].sequence
    assert tuple(paged) == rows
    assert manager.events(session.id, limit=2) == rows[-2:]
    assert manager.events(session.id, after_sequence=1, limit=2) == rows[-2:]


def test_7_history_groups_the_rows_that_are_asked_for(manager, session):
    turns = []
    for word in ("one", "two"):
        stream = session.prompt(f"@@say {word}")
        stream.result(timeout=20)
        turns.append(stream.turn_id)
    history = manager.history(session.id)
    assert [turn.turn_id for turn in history] == turns
    assert [row for turn in history for row in turn.events] == list(manager.events(session.id))
    (only,) = manager.history(session.id, turn_id=turns[1])
    assert only == history[1]
    inputs = manager.history(session.id, type="user_message")
    assert [[row.type for row in turn.events] for turn in inputs] == [["user_message"]] * 2
    (last,) = manager.history(session.id, limit=1)
    assert last.events == history[1].events[-1:]
    with pytest.raises(StoreValidationError):
        manager.history(session.id, limit=-1)


def test_7_a_session_without_a_journal_is_not_found_and_none_is_made(manager, session):
    session.stop()
    session.db_path.unlink()
    for read in (manager.events, manager.history, manager.transcript, manager.usage):
        with pytest.raises(SessionNotFoundError):
            read(session.id)
    assert not session.db_path.exists()


def test_7_e_a_read_ends_an_interrupted_clear_first(home, manager, session):
    session.prompt("@@say one").result(timeout=20)
    session.stop()
    before, meta = manager.events(session.id), manager.status(session.id)
    directory = session.db_path.parent
    session.db_path.rename(f"{session.db_path}.clear-backup")
    (directory / "meta.json.clear-backup").write_bytes(session.meta_path.read_bytes())
    session.meta_path.write_text("{}")
    assert manager.status(session.id) == meta
    assert manager.events(session.id) == before
    assert not list(directory.glob("*.clear-*"))


def test_7_b_15_3_a_read_during_a_stop_waits_for_its_last_row(manager, session):
    """Whatever the read meets, a stop that has begun is read to its end."""
    session.prompt("@@say one").result(timeout=20)
    live = manager._verbs.get(session.id)
    seen, asked = [], threading.Event()

    def read_while_it_ends():
        asked.set()
        seen.append(manager.events(session.id))

    reader = threading.Thread(target=read_while_it_ends)
    waiting = manager._hub.call(live.when, lambda state: state.finalizing)
    stop = threading.Thread(target=session.stop)
    stop.start()
    waiting.get(timeout=20)
    reader.start()
    assert asked.wait(20)
    reader.join(20)
    stop.join(20)
    assert [row.type for row in seen[0]].count("session_stopped") == 1


def test_15_2_a_read_during_a_turn_is_a_prefix_and_does_not_wait(manager, session):
    stream = session.prompt("@@say one\n@@hang")
    for event in stream:
        if event.text:
            break
    rows = manager.events(session.id)
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    assert manager.transcript(session.id)
    assert session.is_prompting
    session.cancel()
    stream.result(timeout=20)
    assert manager.events(session.id)[: len(rows)] == rows


def test_15_6_a_reader_of_a_deleted_session_makes_nothing(home, manager, session):
    manager.delete(session.id)
    with pytest.raises(SessionNotFoundError):
        manager.events(session.id)
    assert not (home / "sessions" / session.id).exists()


def test_15_6_a_reader_of_a_session_being_cleared_sees_one_history_whole(manager, session):
    session.prompt("@@say one").result(timeout=20)
    before = len(manager.events(session.id))
    told, reading = [], []

    def read_now():
        thread = threading.Thread(target=lambda: told.append(manager.events(session.id)))
        thread.start()
        reading.append(thread)

    for point in (FailPoint.CLEAR_BACKED_UP, FailPoint.CLEAR_OPENED, FailPoint.CLEAR_COMMITTED):
        arm(point, read_now)
    try:
        manager.clear_conversation(session.id)
    finally:
        disarm()
    for thread in reading:
        thread.join(20)
    assert len(told) == len(reading) == 3
    assert {len(rows) for rows in told} <= {0, before, before + 1}


def test_7_two_managers_read_the_same(home, manager, session):
    session.prompt("@@say one").result(timeout=20)
    session.stop()
    rows, turns = manager.events(session.id), manager.history(session.id)
    messages = manager.transcript(session.id)
    manager.close()
    with SessionManager(home=home) as again:
        assert again.events(session.id) == rows
        assert again.history(session.id) == turns
        assert again.transcript(session.id) == messages
