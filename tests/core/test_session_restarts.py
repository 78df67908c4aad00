"""spec 01 9.6: which ends restart, how often and how fast."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from greenroom.actors.core.restarts import (
    AgentEnd,
    Verdict,
    backoff_delay,
    decide_restart,
    end_of,
    restart_marker,
)
from greenroom.actors.errors import SessionValueError
from greenroom.actors.model.restart import RESTARTS_MAX, RestartMode, RestartPolicy
from greenroom.actors.restart_arithmetic import DOUBLINGS_MAX, within_window
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("end", "restarting"),
    [
        (AgentEnd.STALLED, {"transient", "permanent"}),
        (AgentEnd.CRASHED, {"transient", "permanent"}),
        (AgentEnd.EXITED, {"permanent"}),
    ],
)
@pytest.mark.parametrize("mode", RestartMode)
@pytest.mark.parametrize("requested", [False, True])
def test_9_6_table(end, restarting, mode, requested):
    decision = decide_restart(RestartPolicy(mode), end, (), 5.0, requested=requested)
    if mode in restarting and not requested:
        assert (decision.verdict, decision.delay_s, decision.count) == (Verdict.RESTART, 0.5, 1)
        assert decision.moments == (5.0,)
    else:
        assert (decision.verdict, decision.moments) == (Verdict.STOP, ())


@pytest.mark.parametrize(
    ("stalled", "wait_error", "prompting", "end"),
    [
        (True, "killed", True, AgentEnd.STALLED),
        (False, "exit status 1", False, AgentEnd.CRASHED),
        (False, "", True, AgentEnd.CRASHED),
        (False, "", False, AgentEnd.EXITED),
    ],
)
def test_9_5_how_an_agent_ended(stalled, wait_error, prompting, end):
    assert end_of(stalled=stalled, wait_error=wait_error, prompting=prompting) is end


@pytest.mark.parametrize("mode", RestartMode)
def test_9_6_a_failing_resume_ends_the_session(mode):
    decision = decide_restart(
        RestartPolicy(mode), AgentEnd.RESUME_FAILED, (1.0, 2.0), 3.0, requested=False
    )
    assert (decision.verdict, decision.count, decision.moments) == (Verdict.GIVE_UP, 2, (1.0, 2.0))


def test_9_6_a_requested_stop_ends_a_pending_restart():
    policy = RestartPolicy("permanent")
    decision = decide_restart(policy, AgentEnd.RESUME_FAILED, (1.0,), 2.0, requested=True)
    assert (decision.verdict, decision.moments) == (Verdict.STOP, (1.0,))


def test_9_6_one_more_than_the_limit_within_the_window_gives_up():
    policy = RestartPolicy("transient", max_restarts=3, window_s=60)
    moments: tuple[float, ...] = ()
    seen = []
    for now in (0.0, 10.0, 20.0, 60.0):
        decision = decide_restart(policy, AgentEnd.CRASHED, moments, now, requested=False)
        moments = decision.moments
        seen.append((decision.verdict, decision.delay_s))
    assert seen == [
        (Verdict.RESTART, 0.5),
        (Verdict.RESTART, 1.0),
        (Verdict.RESTART, 2.0),
        (Verdict.GIVE_UP, 0.0),
    ]


def test_9_6_restarts_older_than_the_window_are_forgotten():
    policy = RestartPolicy("transient", max_restarts=1, window_s=60)
    decision = decide_restart(policy, AgentEnd.CRASHED, (0.0,), 60.001, requested=False)
    assert (decision.verdict, decision.count, decision.moments) == (Verdict.RESTART, 1, (60.001,))


def test_9_6_no_restarts_allowed():
    policy = RestartPolicy("permanent", max_restarts=0)
    decision = decide_restart(policy, AgentEnd.EXITED, (), 0.0, requested=False)
    assert decision.verdict is Verdict.GIVE_UP


def test_9_6_the_backoff_doubles_up_to_its_limit():
    policy = RestartPolicy("transient", backoff_s=0.5, backoff_max_s=3)
    assert [backoff_delay(policy, n) for n in (1, 2, 3, 4, 100_000)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    tiny = RestartPolicy("transient", backoff_s=1e-300, backoff_max_s=1)
    assert backoff_delay(tiny, 10**9) == 1e-300 * 2.0**DOUBLINGS_MAX


@given(st.lists(st.floats(0, 200), max_size=30), st.integers(0, 4), st.floats(0.1, 50))
def test_law_never_more_than_the_limit_within_any_window(times, limit, window):
    """However agents end, no window holds more restarts than the policy allows."""
    policy = RestartPolicy("permanent", max_restarts=limit, window_s=window)
    moments: tuple[float, ...] = ()
    restarts = []
    for now in sorted(times):
        decision = decide_restart(policy, AgentEnd.EXITED, moments, now, requested=False)
        moments = decision.moments
        if decision.verdict is Verdict.RESTART:
            restarts.append(now)
            assert 0 <= decision.delay_s <= policy.backoff_max_s
    for now in restarts:
        before = tuple(moment for moment in restarts if moment <= now)
        assert len(within_window(before, now, window)) <= limit


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"mode": "sometimes"}, "mode"),
        ({"mode": ""}, "mode"),
        ({"max_restarts": -1}, "max_restarts"),
        ({"max_restarts": RESTARTS_MAX + 1}, "max_restarts"),
        ({"window_s": 0}, "window_s"),
        ({"window_s": math.inf}, "window_s"),
        ({"window_s": math.nan}, "window_s"),
        ({"backoff_s": -0.1}, "backoff_s"),
        ({"backoff_s": 31}, "backoff_max_s"),
        ({"backoff_max_s": math.inf}, "backoff_max_s"),
    ],
)
def test_5_11_a_bad_policy_is_refused_by_field(fields, field):
    with pytest.raises(SessionValueError) as caught:
        RestartPolicy(**fields)
    assert caught.value.field == field


def test_5_11_a_policy_is_given_as_one_as_a_mode_or_not_at_all():
    policy = RestartPolicy("permanent", replay_interrupted=True)
    assert policy.mode is RestartMode.PERMANENT
    assert RestartPolicy.of(policy) is policy
    assert RestartPolicy.of("transient") == RestartPolicy(RestartMode.TRANSIENT)
    assert RestartPolicy.of(None) == RestartPolicy(
        RestartMode.TEMPORARY, 3, 60.0, 0.5, 30.0, replay_interrupted=False
    )
    with pytest.raises(SessionValueError):
        RestartPolicy.of("often")


@pytest.mark.parametrize(
    ("facts", "evidence"),
    [
        (
            {"stop_reason": "agent_crashed", "failure_kind": "process_exit"},
            {"stop_reason": "agent_crashed", "failure_kind": "process_exit"},
        ),
        (
            {"stop_reason": "timeout", "stall_reason": "activity_timeout"},
            {"stall_reason": "activity_timeout"},
        ),
        ({}, {}),
    ],
)
def test_02_13_the_marker_of_a_restart(facts, evidence):
    now = datetime(2026, 4, 3, tzinfo=UTC)
    note = restart_marker(turn_id="t1", now=now, restart_count=2, **facts)
    assert (note.title, note.text, note.turn_id) == (
        "transcript_marker.session_recovered",
        "Session recovered after agent restart.",
        "t1",
    )
    assert note.raw.value["evidence"] == {**evidence, "restart_count": 2}
