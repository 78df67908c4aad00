"""01 8.1, 21: resumes of one id at once are one start; each caller gets its session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from greenroom.actors.model.restart import RestartPolicy

CALLERS = 6
ROUNDS = 5


def test_8_1_resumes_at_once_are_one_start(play):
    manager, session, driver = play(lambda turn: turn.say("hello"))
    with ThreadPoolExecutor(CALLERS) as pool:
        for number in range(1, ROUNDS + 1):
            session.stop(timeout=60)
            asked = [pool.submit(manager.resume, session.id, timeout=60) for _ in range(CALLERS)]
            resumed = [one.result(timeout=60) for one in asked]
            assert {one.id for one in resumed} == {session.id}
            assert len(driver.processes) == number + 1, "one start"
            session = resumed[0]
            assert session.prompt("hi").result(timeout=60).type == "done"


def test_9_6_a_resume_waits_for_the_restart_that_is_under_way(play):
    """It must not wait for the end of a session that is on its way back."""
    manager, session, driver = play(
        lambda turn: turn.exit() if turn.request.message == "die" else turn.say("hello"),
        restart=RestartPolicy("transient", backoff_s=0.2, backoff_max_s=0.2),
    )
    session.prompt("die").result(timeout=60)
    back = manager.resume(session.id, timeout=60)
    assert back.prompt("hi").result(timeout=60).type == "done"
    assert len(driver.processes) == 2
