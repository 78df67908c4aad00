"""spec 01 2, 3, 6, 7.3, 8, 15, 21, 22: ids, types, registry, queries, interleavings, logs."""

from __future__ import annotations

import shutil
import threading

import pytest
from gevent.event import Event
from greenroom.actors import (
    AgentError,
    PromptInProgressError,
    Session,
    SessionError,
    SessionManager,
    SessionNotActiveError,
    SessionNotFoundError,
    SessionType,
    SessionValueError,
    State,
    error_is,
)
from greenroom.actors.testing.driver import ScriptedDriver


def at_once(count, work):
    """Run ``work(n)`` in so many threads that start together; what each returned or raised."""
    barrier, outcomes = threading.Barrier(count), [None] * count

    def run(n):
        barrier.wait(10)
        try:
            outcomes[n] = work(n)
        except Exception as error:
            outcomes[n] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return outcomes


@pytest.fixture
def runtime(tmp_path):
    """A manager with a scripted agent; its driver and the options of a create beside it."""
    driver = ScriptedDriver(lambda turn: turn.say("hi"))
    manager = SessionManager(
        home=tmp_path / "home", driver=driver, agents={"scripted": ["scripted"]}
    )
    options = {"agent_name": "scripted", "workspace_path": str(tmp_path)}
    yield manager, driver, options
    manager.close()


def test_2_1_ids_have_their_prefixes(runtime):
    manager, _, options = runtime
    session = manager.create(**options)
    stream = session.prompt("x")
    prefix, digits = session.id.split("-")
    assert (prefix, len(digits)) == ("sess", 16)
    assert int(digits, 16) >= 0
    assert stream.turn_id.startswith("turn-")
    assert len(stream.turn_id) == len("turn-") + 16


@pytest.mark.parametrize("given", [*SessionType, "", "  ", "nobody", "USER"])
def test_2_2_a_type_nobody_knows_is_user(runtime, given):
    manager, _, options = runtime
    session = manager.create(**options, type=f" {given} ")
    expected = SessionType(given) if given in set(SessionType) else SessionType.USER
    assert session.info().type is expected
    session.stop()
    assert manager.status(session.id).type is expected


def test_3_1_a_handle_outlives_its_session_and_shows_how_it_ended(runtime):
    manager, _, options = runtime
    session = manager.create(**options, name="  mine  ")
    assert isinstance(session, Session)
    assert (session.meta().name, session.state) == ("mine", State.ACTIVE)
    assert (session.current_turn_id, session.current_turn_source) == ("", "")
    assert session.db_path.name == "events.journal"
    assert session.meta_path == session.session_dir / "meta.json"
    session.stop()
    assert session.state is State.STOPPED
    assert session.info().stop_reason == "user_canceled"
    with pytest.raises(SessionNotActiveError):
        session.prompt("x")


def test_6_get_shows_what_stops_until_it_is_over(runtime):
    manager, driver, options = runtime
    session = manager.create(**options)
    gate, reached = Event(), threading.Event()

    def hold(process):
        reached.set()
        gate.wait(10)

    driver.on_stop = hold
    stopper = threading.Thread(target=session.stop)
    stopper.start()
    assert reached.wait(10)
    found = manager.get(session.id)
    assert found.state is State.STOPPING
    manager._hub.post(gate.set)
    stopper.join(10)
    assert manager.get(session.id) is None


def test_6_an_id_that_is_starting_is_not_there_yet(runtime):
    manager, driver, options = runtime
    seen = []
    driver.on_start = lambda opts: seen.append(
        (manager.get(opts.session_id), manager.is_prompting(opts.session_id), manager.list())
    )
    manager.create(**options)
    assert seen == [(None, False, ())]


@pytest.mark.parametrize(
    "selectors", [{}, {"workspace": "w", "workspace_path": "/p"}, {"workspace": " "}]
)
def test_7_3_exactly_one_selector_of_the_workspace(runtime, selectors):
    manager, _, _ = runtime
    with pytest.raises(SessionValueError):
        manager.create(agent_name="scripted", **selectors)
    assert manager.list_all() == ()


def test_15_lists_are_ordered_and_skip_what_is_no_session(runtime):
    manager, _, options = runtime
    sessions = [manager.create(**options) for _ in range(3)]
    sessions[1].stop()
    place = manager.home / "sessions"
    (place / "no-meta").mkdir()
    (place / "a-file").write_text("x")
    broken = place / "broken"
    broken.mkdir()
    (broken / "meta.json").write_text("{")
    ids = [session.id for session in sessions]
    assert [info.id for info in manager.list()] == [ids[0], ids[2]]
    assert [info.id for info in manager.list_all()] == ids
    with pytest.raises(SessionError):
        manager.status("broken")
    shutil.rmtree(broken)


def test_21_two_concurrent_stops_end_it_once(runtime):
    manager, _, options = runtime
    for _ in range(5):
        session = manager.create(**options)
        outcomes = at_once(2, lambda n, session=session: session.stop(timeout=10))
        assert None in outcomes
        assert all(o is None or isinstance(o, SessionNotFoundError) for o in outcomes)
        assert len(manager.events(session.id, type="session_stopped")) == 1


def test_21_a_stop_against_the_crash_of_the_agent_ends_it_once(runtime):
    manager, driver, options = runtime

    def crash(process):
        process.end(AgentError("died meanwhile"))
        raise AgentError("nothing to stop")

    driver.on_stop = crash
    session = manager.create(**options)
    session.stop(timeout=10)
    assert len(manager.events(session.id, type="session_stopped")) == 1
    assert manager.status(session.id).stop_reason == "user_canceled", "the first cause is kept"


def test_21_a_query_that_races_with_the_end_sees_it_complete(runtime):
    manager, _, options = runtime
    session = manager.create(**options)
    session.prompt("x").result(timeout=10)

    def work(n):
        return session.stop(timeout=10) if n == 0 else manager.events(session.id)

    outcomes = at_once(4, work)
    for rows in outcomes[1:]:
        types = [row.type for row in rows]
        assert types[:3] == ["user_message", "agent_message", "done"]
    assert manager.events(session.id)[-1].type == "transcript_marker.created"
    assert "session_stopped" in [row.type for row in manager.events(session.id)]


def test_21_many_are_created_listed_and_stopped_at_once(runtime):
    manager, _, options = runtime

    def work(n):
        session = manager.create(**options)
        assert manager.get(session.id) is not None
        assert session.id in {info.id for info in manager.list()}
        session.stop(timeout=20)
        return session.id

    ids = at_once(8, work)
    assert len(set(ids)) == 8
    assert all(isinstance(name, str) for name in ids)
    assert manager.list() == ()


def test_21_an_agent_that_exits_right_after_its_start_is_created_then_stopped(tmp_path):
    told = []

    class Notifier:
        def on_session_created(self, session):
            told.append("created")

        def on_session_stopped(self, session):
            told.append("stopped")

        def on_agent_event(self, session_id, event):
            """Nothing."""

    class Brief(ScriptedDriver):
        def start(self, ctx, opts):
            process = super().start(ctx, opts)
            process.end(None)
            return process

    with SessionManager(
        home=tmp_path / "home",
        driver=Brief(lambda turn: None),
        agents={"scripted": ["scripted"]},
        notifier=Notifier(),
    ) as manager:
        session = manager.create(agent_name="scripted", workspace_path=str(tmp_path))
        waited = threading.Event()
        for _ in range(2000):
            if told == ["created", "stopped"]:
                break
            waited.wait(0.005)
        assert told == ["created", "stopped"]
        assert manager.status(session.id).state is State.STOPPED


def test_21_resumes_of_one_id_start_it_once(runtime):
    manager, driver, options = runtime
    session = manager.create(**options)
    session.stop()
    outcomes = at_once(4, lambda n: manager.resume(session.id))
    assert {outcome.id for outcome in outcomes} == {session.id}
    assert len(driver.processes) == 2


def test_21_a_delete_of_what_is_starting_is_refused(runtime):
    manager, driver, options = runtime
    seen = []

    def look(opts):
        try:
            manager.delete(opts.session_id)
        except SessionError as error:
            seen.append(error)

    driver.on_start = look
    session = manager.create(**options)
    assert [type(error) for error in seen] == [SessionNotActiveError]
    assert session.state is State.ACTIVE


def test_21_what_is_starting_is_never_repaired_to_stopped(runtime):
    manager, driver, options = runtime
    seen = []
    driver.on_start = lambda opts: seen.append(manager.status(opts.session_id).state)
    manager.create(**options)
    assert seen == [State.STARTING]


def test_17_of_prompts_that_race_one_is_accepted(runtime):
    """02 17: exactly one, and exactly one input row."""
    manager, driver, options = runtime
    gate = Event()
    driver.story = lambda turn: gate.wait(10)
    session = manager.create(**options)
    outcomes = at_once(6, lambda n: session.prompt(f"p{n}"))
    refused = [o for o in outcomes if isinstance(o, PromptInProgressError)]
    assert len(refused) == 5
    assert len(manager.events(session.id, type="user_message")) == 1
    manager._hub.post(gate.set)
    manager.wait_for_prompt_drains(timeout=10)


def test_8_and_22_a_resume_names_what_is_missing(runtime, caplog, tmp_path):
    manager, driver, _ = runtime
    place = tmp_path / "gone"
    place.mkdir()
    session = manager.create(agent_name="scripted", workspace_path=str(place))
    session.stop()
    before = session.meta_path.read_bytes()
    place.rmdir()
    session.db_path.unlink()
    from greenroom.actors import StoreCorruptError, WorkspaceRootMissingError

    with pytest.raises(ExceptionGroup) as raised:
        manager.resume(session.id)
    assert error_is(raised.value, WorkspaceRootMissingError)
    assert error_is(raised.value, StoreCorruptError)
    failed = [r.message for r in caplog.records if "session.resume.validation_failed" in r.message]
    assert [("workspace_dir" in m, "event_store" in m) for m in failed] == [
        (True, False),
        (False, True),
    ]
    assert all(session.id in message for message in failed)
    assert session.meta_path.read_bytes() == before
    assert len(driver.processes) == 1


def test_22_a_start_that_fails_is_logged_with_its_phase(runtime, caplog):
    manager, driver, options = runtime
    session = manager.create(**options)
    session.stop()

    def refuse(opts):
        raise AgentError("no")

    driver.on_start = refuse
    with pytest.raises(AgentError):
        manager.create(**options)
    with pytest.raises(AgentError):
        manager.resume(session.id)
    told = [r.message for r in caplog.records if "session.start.driver_start_failed" in r.message]
    assert ["phase=create" in m for m in told] == [True, False]
    assert all('agent_name="scripted"' in message for message in told)
