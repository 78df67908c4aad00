"""The pure rules of supervision: child specs, verdicts, restart windows, backoff, stalls."""

from __future__ import annotations

import math

import pytest
from greenroom.actors.runtime.childspec import (
    AutoShutdown,
    ChildSpec,
    Restart,
    StallPolicy,
    Strategy,
)
from greenroom.actors.runtime.errors import ChildSpecError, SupervisionError
from greenroom.actors.runtime.monitor import DownReason
from greenroom.actors.runtime.restarts import (
    RestartLimits,
    Verdict,
    add_restart,
    affected,
    backoff_delay,
    ends_supervisor,
    judge,
)
from greenroom.actors.runtime.stalls import StallKind, StallWatch, Vitals
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("id", []),
        ("start", 1),
        ("args", [1]),
        ("kwargs", (1,)),
        ("restart", "sometimes"),
        ("shutdown", -0.1),
        ("shutdown", "forever"),
        ("shutdown", False),
        ("significant", 1),
        ("start_timeout_s", 0),
        ("start_timeout_s", math.inf),
        ("stall_after_s", -1),
        ("stall_after_s", "1"),
        ("heartbeat_s", True),
        ("on_stall", "ignore"),
    ],
)
def test_a_wrong_value_is_refused_where_it_is_written(field, value):
    good = {"id": "child", "start": print, "restart": "transient"}
    with pytest.raises(ChildSpecError) as caught:
        ChildSpec(**{**good, field: value})
    assert caught.value.field == field
    assert str(caught.value) == f"{field} may not be {value!r}"


def test_a_permanent_child_can_not_be_significant():
    assert ChildSpec("child", print, restart="transient", significant=True).significant
    with pytest.raises(ChildSpecError):
        ChildSpec("child", print, significant=True)


def test_a_spec_is_data():
    spec = ChildSpec("child", print, restart="temporary", on_stall="report", shutdown="kill")
    assert (spec.restart, spec.on_stall) == (Restart.TEMPORARY, StallPolicy.REPORT)
    assert not spec.watched
    assert ChildSpec("child", print, heartbeat_s=1).watched
    with pytest.raises(AttributeError):
        spec.id = "other"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_restarts", -1),
        ("max_restarts", 1.5),
        ("max_restarts", True),
        ("window_s", 0),
        ("window_s", math.inf),
        ("backoff_s", -1),
        ("backoff_max_s", math.inf),
        ("jitter", 1.1),
    ],
)
def test_wrong_limits_are_refused(field, value):
    with pytest.raises(ChildSpecError) as caught:
        RestartLimits(**{field: value})
    assert caught.value.field == field


def test_a_backoff_is_not_above_its_own_limit():
    with pytest.raises(ChildSpecError):
        RestartLimits(backoff_s=31.0)


VERDICTS = {
    (Restart.PERMANENT, True): Verdict.RESTART,
    (Restart.PERMANENT, False): Verdict.RESTART,
    (Restart.TRANSIENT, True): Verdict.KEEP,
    (Restart.TRANSIENT, False): Verdict.RESTART,
    (Restart.TEMPORARY, True): Verdict.FORGET,
    (Restart.TEMPORARY, False): Verdict.FORGET,
}


@pytest.mark.parametrize(("cell", "verdict"), VERDICTS.items())
def test_every_cell_of_restart_times_end(cell, verdict):
    assert judge(*cell) is verdict


def test_which_ends_are_normal():
    assert {reason for reason in DownReason if reason.normal} == {
        DownReason.STOPPED, DownReason.SHUTDOWN
    }


def test_who_is_restarted():
    ids = ("a", "b", "c")
    assert affected(Strategy.ONE_FOR_ONE, ids, "b") == ("b",)
    assert affected(Strategy.ONE_FOR_ALL, ids, "b") == ids
    assert affected(Strategy.REST_FOR_ONE, ids, "b") == ("b", "c")


@pytest.mark.parametrize(
    ("rule", "significant", "others", "ends"),
    [
        (AutoShutdown.NEVER, True, False, False),
        (AutoShutdown.ANY_SIGNIFICANT, False, False, False),
        (AutoShutdown.ANY_SIGNIFICANT, True, True, True),
        (AutoShutdown.ALL_SIGNIFICANT, False, False, False),
        (AutoShutdown.ALL_SIGNIFICANT, True, True, False),
        (AutoShutdown.ALL_SIGNIFICANT, True, False, True),
    ],
)
def test_when_a_significant_end_ends_the_supervisor(rule, significant, others, ends):
    assert ends_supervisor(rule, significant, others) is ends


@pytest.mark.parametrize(
    "wrong", [lambda: judge("x", True), lambda: affected("x", "a", "a"),
              lambda: ends_supervisor("x", True, True)]
)
def test_what_is_in_no_table_is_a_bug(wrong):
    with pytest.raises(AssertionError):
        wrong()


@given(st.integers(0, 20), st.floats(0.5, 10))
def test_the_limit_is_exact(limit, window_s):
    limits = RestartLimits(max_restarts=limit, window_s=window_s)
    times: tuple[float, ...] = ()
    for n in range(limit + 1):
        times, too_many = add_restart(times, 100.0, limits)
        assert too_many is (n == limit)


def test_the_edge_of_a_window_is_inside_it():
    limits = RestartLimits(max_restarts=1, window_s=5.0)
    times, _ = add_restart((), 0.0, limits)
    assert add_restart(times, 5.0, limits) == ((0.0, 5.0), True)
    assert add_restart(times, 5.001, limits) == ((5.001,), False)


def test_the_backoff_doubles_up_to_its_limit():
    limits = RestartLimits(backoff_s=0.5, backoff_max_s=3.0)
    delays = [backoff_delay(limits, n, lambda: 1 / 0) for n in range(1, 6)]
    assert delays == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff_delay(limits, 10**9, lambda: 1 / 0) == 3.0
    assert backoff_delay(RestartLimits(), 5, lambda: 1 / 0) == 0


@given(st.floats(0, 1), st.floats(0, 1, exclude_max=True), st.integers(1, 30))
def test_jitter_only_shortens(jitter, drawn, attempt):
    plain = RestartLimits(backoff_s=0.5)
    limits = RestartLimits(backoff_s=0.5, jitter=jitter)
    delay = backoff_delay(limits, attempt, lambda: drawn)
    full = backoff_delay(plain, attempt, lambda: drawn)
    assert full * (1 - jitter) - 1e-9 <= delay <= full


def test_errors_speak_in_fields():
    assert str(SupervisionError("x")).startswith("child 'x': root of what supervisors answer")


def vitals(handled=0, beats=0, busy=False, postponed=0, runnable=False):
    return Vitals(handled, beats, busy, postponed, runnable)


def looks(spec, *seen, every=1.0):
    watch = StallWatch(spec)
    return [watch.look(one, every) for one in seen]


STALLING = ChildSpec("child", print, stall_after_s=2.0)


def test_a_handler_that_stays_in_one_message_has_stalled_and_it_is_told_once():
    assert looks(STALLING, *[vitals(handled=3, busy=True)] * 5) == [
        None, None, StallKind.HANDLER, None, None
    ]


def test_a_stall_that_ended_can_come_again():
    stuck, free = [vitals(busy=True)] * 3, [vitals(handled=1)]
    again = [vitals(handled=2, busy=True)] * 3
    told = looks(STALLING, *stuck, *free, *again)
    assert [kind for kind in told if kind] == [StallKind.HANDLER] * 2


def test_progress_is_a_message_done_or_a_beat():
    assert not any(looks(STALLING, *(vitals(handled=n, busy=True) for n in range(9))))
    assert not any(looks(STALLING, *(vitals(beats=n, busy=True) for n in range(9))))


def test_an_idle_actor_and_one_that_waits_for_its_turn_have_not_stalled():
    assert not any(looks(STALLING, *[vitals()] * 9))
    assert not any(looks(STALLING, *[vitals(runnable=True, postponed=1)] * 9))


def test_an_actor_that_only_postpones_has_stalled():
    told = looks(STALLING, *[vitals(postponed=2)] * 4)
    assert told[2] is StallKind.MAILBOX


def test_a_missed_heartbeat_is_a_stall_even_of_an_idle_actor():
    spec = ChildSpec("child", print, heartbeat_s=2.0)
    assert looks(spec, *[vitals()] * 3)[2] is StallKind.HEARTBEAT
    assert not any(looks(spec, *(vitals(beats=n) for n in range(9))))


def test_how_often_to_look_follows_the_shortest_deadline():
    spec = ChildSpec("child", print, heartbeat_s=4.0, stall_after_s=8.0)
    assert StallWatch(spec).interval_s == 0.5
