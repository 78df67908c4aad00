"""spec 02 12, 05 3.1: a turn under watch, minute by minute, without a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from greenroom.actors.core import supervision
from greenroom.actors.core.activity import (
    ACTIVITY_DETAIL_CHARS_MAX,
    UNHEALTHY_TEXT,
    CancelTurn,
    ClearActivity,
    EmitEvent,
    SaveActivity,
    StopStalled,
    Watch,
    deadline_text,
    resolve_supervision,
    unhealthy_text,
)
from greenroom.actors.core.redaction import Redactor
from greenroom.actors.core.supervision import (
    DELIVERY_WAIT_S,
    STOP_BOUND_S,
    TICK_S_MIN,
    deadline_delivered,
    ended,
    error_arrived,
    next_tick_s,
    observed,
    reported,
    started,
    ticked,
)
from greenroom.actors.errors import SessionValueError
from greenroom.actors.model.activity import ProcessHealth, SessionActivityMeta, StallReason
from greenroom.actors.model.event import AgentEvent
from greenroom.actors.model.settings import SessionSupervisionConfig
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

SAVE_INTERVAL = 0.25


@pytest.fixture(autouse=True)
def _save_often(monkeypatch):
    monkeypatch.setattr(supervision, "SAVE_INTERVAL_S", SAVE_INTERVAL)


START = datetime(2026, 4, 3, 10, tzinfo=UTC)
SICK = f"{UNHEALTHY_TEXT} deaf"
BASE = 1000.0
"""Where the monotonic clock stands when the turn begins."""


def config(**changes):
    fields = {
        "activity_heartbeat_interval": 30.0,
        "progress_notify_interval": 0.0,
        "prompt_deadline": 0.0,
        "inactivity_warning_after": 0.0,
        "inactivity_timeout": 0.0,
        "timeout_cancel_grace": 20.0,
        **changes,
    }
    return SessionSupervisionConfig(**fields)


class Watched:
    """One supervised turn; times are seconds since its start."""

    def __init__(self, stall_reason="", **changes):
        self.state, self.first = started(
            turn_id="t1",
            turn_source="user",
            config=config(**changes),
            now=START,
            at_s=BASE,
            stall_reason=stall_reason,
        )

    def _done(self, step):
        self.state, decisions = step
        return decisions

    def at(self, s):
        return {"now": START + timedelta(seconds=s), "at_s": BASE + s}

    def see(self, s, *events):
        return self._done(observed(self.state, events, **self.at(s)))

    def report(self, s, kind="", detail="waiting", **more):
        return self._done(reported(self.state, kind, detail, **self.at(s), **more))

    def tick(self, s, unhealthy=""):
        return self._done(ticked(self.state, **self.at(s), unhealthy=unhealthy))

    def error(self, s, error="", **fields):
        event = AgentEvent(**{"type": "error", "error": error, **fields})
        return self._done(error_arrived(self.state, event, **self.at(s)))

    def next(self, s):
        return next_tick_s(self.state, BASE + s)


def told(decisions):
    """Decisions in short: texts and markers, and the rest by name."""
    out = []
    for decision in decisions:
        match decision:
            case EmitEvent(event, deliver=False):
                evidence = event.raw.value["evidence"]["stall_reason"]
                out.append((event.title.removeprefix("transcript_marker."), event.text, evidence))
            case EmitEvent(event):
                out.append((event.type, event.text))
            case SaveActivity():
                out.append("save" + (f" {decision.stall_reason}" * bool(decision.stall_reason)))
            case _:
                out.append(decision)
    return out


MESSAGE = AgentEvent(type="agent_message", text="hello")


def test_12_2_turn_start():
    watched = Watched(prompt_deadline=60.5)
    (save,) = watched.first
    assert save == SaveActivity(
        SessionActivityMeta(
            turn_id="t1",
            turn_source="user",
            turn_started_at=START,
            last_activity_at=START,
            last_activity_kind="prompt_started",
            last_activity_detail="prompt started",
        ),
        stall_reason="",
        last_update_at=START,
        activity_at=START,
    )


def test_12_2_a_prompt_clears_a_stall_that_is_on_record():
    watched = Watched(stall_reason="activity_timeout")
    assert told(watched.first) == [
        "save",
        ("session_recovered", "Runtime activity recovered.", "activity_timeout"),
    ]


@pytest.mark.parametrize(
    ("events", "kind", "detail", "tool", "call"),
    [
        ([MESSAGE], "agent_message", "hello", "", ""),
        ([AgentEvent(type="error", error="no")], "error", "no", "", ""),
        ([AgentEvent(type="permission", action="ask")], "permission", "ask", "", ""),
        ([AgentEvent(type="permission", resource="r")], "permission", "r", "", ""),
        ([AgentEvent(type="system", title=" ", text="x")], "system", "x", "", ""),
        ([AgentEvent(type="usage")], "usage", "", "", ""),
        (
            [AgentEvent(type="tool_call", title="bash", tool_call_id="c1")],
            "tool_call",
            "bash",
            "bash",
            "c1",
        ),
        (
            [AgentEvent(type="tool_call", resource="/a", tool_call_id="c1")],
            "tool_call",
            "c1",
            "/a",
            "c1",
        ),
        (
            [
                AgentEvent(type="tool_call", title="bash", tool_call_id="c1"),
                AgentEvent(type="tool_call", tool_call_id="c1", text="half"),
            ],
            "tool_call",
            "half",
            "bash",
            "c1",
        ),
        (
            [
                AgentEvent(type="tool_call", title="bash", tool_call_id="c1"),
                AgentEvent(type="tool_call", tool_call_id="c2"),
            ],
            "tool_call",
            "c2",
            "",
            "c2",
        ),
        (
            [
                AgentEvent(type="tool_call", title="bash", tool_call_id="c1"),
                AgentEvent(type="tool_result", tool_call_id="c1"),
                AgentEvent(type="runtime_progress", text="Still working..."),
            ],
            "tool_result",
            "c1",
            "",
            "",
        ),
    ],
)
def test_12_2_driver_events(events, kind, detail, tool, call):
    for batches in ([events], [[event] for event in events]):
        watched = Watched()
        for batch in batches:
            decisions = watched.see(5, *batch)
        state = watched.state
        assert (state.kind, state.detail, state.current_tool, state.tool_call_id) == (
            kind,
            detail,
            tool,
            call,
        )
        assert state.last_activity_at == START + timedelta(seconds=5)
        assert len(batches) > 1 or told(decisions) == ["save"]


@pytest.mark.parametrize("kind", ["runtime_progress", "runtime_warning"])
def test_12_2_our_own_events_are_no_activity(kind):
    watched = Watched()
    before = watched.state
    assert watched.see(5, AgentEvent(type=kind, text="x")) == ()
    assert watched.see(5) == ()
    assert watched.state is before


def test_12_2_a_detail_is_bounded():
    watched = Watched()
    watched.see(1, AgentEvent(type="agent_message", text="x" * 10_000))
    assert len(watched.state.detail) == ACTIVITY_DETAIL_CHARS_MAX
    watched.report(2, "reading", "y" * 10_000)
    assert len(watched.state.detail) == ACTIVITY_DETAIL_CHARS_MAX


@pytest.mark.parametrize("kind", ["", " ", "agent_waiting"])
def test_12_2_a_heartbeat_is_no_activity(kind):
    watched = Watched(inactivity_warning_after=10)
    watched.see(4, MESSAGE)
    (save,) = watched.report(9.9, kind, "waiting for session/prompt response")
    assert (save.activity.last_activity_kind, save.activity.last_activity_detail) == (
        "agent_waiting",
        "waiting for session/prompt response",
    )
    assert (save.activity.idle_seconds, save.activity_at) == (5, START + timedelta(seconds=4))
    assert told(watched.tick(14)) == [
        "save",
        ("runtime_warning", "Runtime activity is stale (10 seconds idle)."),
    ]


def test_12_2_another_report_is_activity():
    watched = Watched()
    watched.report(9, "thinking", "step 2", iteration=(2, 5))
    state = watched.state
    assert (state.kind, state.detail, state.last_activity_s) == ("thinking", "step 2", BASE + 9)
    assert (state.iteration_current, state.iteration_max) == (2, 5)


def test_12_3_writes_are_coalesced_and_nothing_is_lost():
    watched = Watched()
    assert watched.see(0.1, MESSAGE) == ()
    assert watched.see(0.2, AgentEvent(type="thought", text="hm")) == ()
    assert watched.next(0.2) == pytest.approx(SAVE_INTERVAL - 0.2)
    assert watched.tick(0.24) == ()
    (save,) = watched.tick(0.25)
    assert save.activity.last_activity_kind == "thought"
    assert save.activity_at == START + timedelta(seconds=0.2)
    assert watched.tick(0.3) == ()
    assert watched.next(0.3) == pytest.approx(30)
    writes = [watched.see(1 + n / 100, MESSAGE) for n in range(100)]
    assert sum(map(len, writes)) == 4


@pytest.mark.parametrize(
    ("elapsed", "setup", "text"),
    [
        (59, {}, "Still working..."),
        (60, {}, "Still working... (1 min elapsed, last activity: prompt_started)"),
        (
            185,
            {"current_tool": "bash"},
            "Still working... (3 min elapsed, running: bash)",
        ),
        (
            61,
            {"iteration_current": 2, "iteration_max": 5},
            "Still working... (1 min elapsed - iteration 2/5, last activity: prompt_started)",
        ),
        (
            61,
            {"iteration_current": 2, "iteration_max": 5, "current_tool": "ls"},
            "Still working... (1 min elapsed - iteration 2/5, running: ls)",
        ),
    ],
)
def test_12_3_progress_text(elapsed, setup, text):
    watched = Watched(progress_notify_interval=50)
    watched.state = replace(watched.state, **setup)
    assert told(watched.tick(elapsed)) == ["save", ("runtime_progress", text)]


def test_12_3_progress_comes_once_per_interval_and_is_no_activity():
    watched = Watched(progress_notify_interval=50, prompt_deadline=1000)
    assert watched.tick(49.9) == ()
    save, progress = watched.tick(50)
    assert progress.event.runtime == {
        "turn_id": "t1",
        "turn_source": "user",
        "turn_started_at": START,
        "last_activity_at": START,
        "last_activity_kind": "prompt_started",
        "last_activity_detail": "prompt started",
        "last_progress_at": START + timedelta(seconds=50),
        "deadline_at": START + timedelta(seconds=1000),
        "idle_seconds": 50,
        "elapsed_seconds": 50,
        "elapsed_ms": 50_000,
    }
    assert save.activity.last_progress_at == START + timedelta(seconds=50)
    assert (progress.deliver, progress.is_deadline) == (True, False)
    assert watched.tick(99.9) == ()
    assert len(watched.tick(100)) == 2


def test_12_3_thresholds_have_sub_second_precision():
    watched = Watched(inactivity_warning_after=0.5)
    assert watched.tick(0.49) == ()
    assert told(watched.tick(0.5))[1] == (
        "runtime_warning",
        "Runtime activity is stale (0 seconds idle).",
    )


def test_12_3_the_warning_comes_once_and_is_armed_again_by_activity():
    watched = Watched(inactivity_warning_after=10)
    save, _ = watched.tick(10)
    assert (save.activity.last_activity_kind, save.activity.last_activity_detail) == (
        "warning",
        "runtime activity is stale",
    )
    assert save.activity_at == START
    assert watched.tick(20) == ()
    watched.report(21)
    assert watched.tick(22) == ()
    watched.see(23, MESSAGE)
    assert watched.tick(32.9) == ()
    assert len(watched.tick(33)) == 2


def test_12_3_zero_disables():
    watched = Watched()
    assert watched.tick(10**9) == ()


def test_12_3_order_of_a_tick():
    watched = Watched(
        progress_notify_interval=10, inactivity_warning_after=10, inactivity_timeout=10
    )
    assert told(watched.tick(10)) == [
        "save",
        ("runtime_progress", "Still working..."),
        "save",
        ("runtime_warning", "Runtime activity is stale (10 seconds idle)."),
        "save activity_timeout",
        ("prompt_timeout", "Runtime activity timed out.", "activity_timeout"),
        ("runtime_warning", "Runtime activity timed out (10 seconds idle)."),
        CancelTurn(StallReason.ACTIVITY_TIMEOUT, 20.0),
    ]


@pytest.mark.parametrize(
    ("health", "text"),
    [
        (None, ""),
        (ProcessHealth(), ""),
        (ProcessHealth(healthy=True, last_error="old"), ""),
        (ProcessHealth(last_checked_at=START), UNHEALTHY_TEXT),
        (ProcessHealth(consecutive_failures=1), UNHEALTHY_TEXT),
        (ProcessHealth(details="d"), UNHEALTHY_TEXT),
        (ProcessHealth(message=" m ", last_error="token=abc"), None),
    ],
)
def test_12_4_what_is_unhealthy(health, text):
    if text is None:
        text = f"{UNHEALTHY_TEXT} m token=[REDACTED]"
    assert unhealthy_text(health, Redactor()) == text


def test_12_4_the_text_is_bounded():
    told_text = unhealthy_text(ProcessHealth(message="ü" * 5000), Redactor())
    assert len(told_text.encode()) <= 2048


@pytest.mark.parametrize("by", ["tick", "heartbeat"])
def test_12_4_an_episode_is_told_once_at_its_begin_and_once_at_its_end(by):
    watched = Watched()
    look = watched.tick if by == "tick" else watched.report
    begin = look(1, unhealthy=SICK)
    assert told(begin) == [
        "save process_unhealthy",
        ("session_unhealthy", "Runtime health check failed.", "process_unhealthy"),
        ("runtime_warning", SICK),
    ]
    assert (begin[0].last_error, begin[0].activity_at) == (SICK, START)
    assert look(2, unhealthy=SICK + " more") == ()
    assert watched.state.kind == "prompt_started", "heartbeats change nothing else"
    (save,) = watched.see(3, MESSAGE)
    assert (save.stall_reason, save.last_error) == ("process_unhealthy", SICK)
    assert told(look(4)) == [
        "save",
        ("session_recovered", "Runtime activity recovered.", "process_unhealthy"),
    ]
    assert look(4.1) == ()
    assert len(look(5, unhealthy=SICK)) == 3


def test_12_4_no_progress_while_unhealthy_but_warning_and_timeout():
    watched = Watched(
        progress_notify_interval=5, inactivity_warning_after=10, inactivity_timeout=20
    )
    watched.tick(1, unhealthy=SICK)
    assert watched.next(1) == pytest.approx(9)
    assert watched.tick(6, unhealthy=SICK) == ()
    assert [d[0] for d in told(watched.tick(10, unhealthy=SICK))[1:]] == ["runtime_warning"]
    assert told(watched.tick(20, unhealthy=SICK))[-1] == CancelTurn(
        StallReason.ACTIVITY_TIMEOUT, 20.0
    )


def test_12_5_timeout_then_grace_then_stop():
    watched = Watched(inactivity_timeout=10)
    watched.see(1, MESSAGE)
    save, _, warning, _ = watched.tick(11)
    assert (save.stall_reason, save.activity.last_activity_kind) == ("activity_timeout", "timeout")
    assert save.activity_at == START + timedelta(seconds=1), "the last real activity"
    assert save.last_update_at == START + timedelta(seconds=11)
    assert (warning.deliver, warning.is_deadline) == (True, False)
    assert watched.next(11) == pytest.approx(20)
    assert watched.see(12, MESSAGE) == watched.report(13, "busy") == watched.tick(30.9) == ()
    assert watched.tick(31) == (StopStalled(StallReason.ACTIVITY_TIMEOUT, 20.0),)
    assert watched.tick(32) == ()
    assert watched.next(32) is None


@pytest.mark.parametrize(("grace", "bound"), [(1, 5.0), (20, 20.0), (0, STOP_BOUND_S)])
def test_12_5_the_bound_of_the_stop(grace, bound):
    watched = Watched(inactivity_timeout=10, timeout_cancel_grace=grace)
    watched.tick(10)
    assert watched.tick(40) == (StopStalled(StallReason.ACTIVITY_TIMEOUT, bound),)


def test_12_5_a_turn_that_ends_inside_the_grace_leaves_the_session_alone():
    watched = Watched(inactivity_timeout=10)
    watched.tick(10)
    watched.state, decisions = ended(watched.state)
    assert decisions == (ClearActivity(START),)
    assert watched.tick(1000) == ()
    assert watched.next(1000) is None


def test_12_6_the_deadline_is_told_before_it_is_enforced():
    watched = Watched(prompt_deadline=60)
    watched.see(59.5, MESSAGE)
    assert watched.tick(59.9) == ()
    decisions = watched.tick(60)
    assert told(decisions) == [
        "save prompt_deadline_exceeded",
        ("prompt_timeout", "Runtime activity timed out.", "prompt_deadline_exceeded"),
        ("runtime_warning", "Prompt deadline exceeded after 60000 ms."),
    ]
    warning = decisions[-1]
    assert (warning.is_deadline, warning.deliver) == (True, True)
    assert warning.event.runtime["deadline_at"] == START + timedelta(seconds=60)
    assert warning.event.raw.value == {"elapsed_ms": 60000, "deadline_at": "2026-04-03T10:01:00Z"}
    assert watched.next(60) == pytest.approx(DELIVERY_WAIT_S)
    assert watched.tick(61) == ()
    assert watched.error(62, "context deadline exceeded") == (), "it was told already"
    watched.state, cancelling = deadline_delivered(watched.state, BASE + 62)
    assert cancelling == (CancelTurn(StallReason.PROMPT_DEADLINE, 20.0),)
    assert deadline_delivered(watched.state, BASE + 63)[1] == ()
    assert watched.tick(82) == (StopStalled(StallReason.PROMPT_DEADLINE, 20.0),)


def test_12_6_a_warning_that_never_gets_out_does_not_save_the_turn():
    watched = Watched(prompt_deadline=60)
    watched.tick(60)
    assert watched.tick(60 + DELIVERY_WAIT_S) == (CancelTurn(StallReason.PROMPT_DEADLINE, 20.0),)


def test_12_6_an_earlier_warning_does_not_disable_the_deadline():
    watched = Watched(prompt_deadline=60, inactivity_warning_after=10)
    (_, stale) = watched.tick(10)
    assert "deadline_at" in stale.event.runtime
    assert not stale.is_deadline
    assert told(watched.tick(60))[-1][1] == "Prompt deadline exceeded after 60000 ms."


@pytest.mark.parametrize(
    ("at", "error", "limit", "text"),
    [
        (60, "boom", 60, "Prompt deadline exceeded after 60000 ms."),
        (5, "rpc: context deadline exceeded", 60, "Prompt deadline exceeded after 5000 ms."),
        (0, "context deadline exceeded", 60, "Prompt deadline exceeded."),
        (5, "boom", 60, None),
        (5, "context deadline exceeded", 0, None),
    ],
)
def test_12_6_an_error_comes_after_the_deadline_it_comes_from(at, error, limit, text):
    watched = Watched(prompt_deadline=limit)
    decisions = watched.error(at, error)
    if text is None:
        assert decisions == ()
        assert watched.state.phase is Watch.WATCHING
    else:
        assert told(decisions)[-1] == ("runtime_warning", text)
        assert decisions[-1].is_deadline
        assert watched.error(at, error) == (), "exactly once"
        assert watched.tick(1000) == ()


def test_12_6_the_text_of_the_error_counts_too_and_other_events_do_not():
    watched = Watched(prompt_deadline=60)
    assert watched.error(5, type="done", text="context deadline exceeded") == ()
    assert len(watched.error(5, text="context deadline exceeded")) == 3


def test_12_6_texts():
    assert deadline_text(0) == "Prompt deadline exceeded."
    assert deadline_text(1) == "Prompt deadline exceeded after 1 ms."


def test_12_7_the_end_clears_everything():
    watched = Watched()
    watched.tick(1, unhealthy=SICK)
    watched.see(1.1, MESSAGE)
    watched.state, decisions = ended(watched.state)
    assert decisions == (ClearActivity(START + timedelta(seconds=1.1)),)
    state = watched.state
    assert (state.stall_reason, state.unhealthy, state.dirty) == ("", "", False)
    assert watched.see(2, MESSAGE) == watched.report(2) == watched.tick(2) == ()


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, 30),
        ({"prompt_deadline": 7}, 7),
        ({"inactivity_timeout": 8}, 8),
        ({"inactivity_warning_after": 9}, 9),
        ({"progress_notify_interval": 6}, 6),
    ],
)
def test_12_3_the_next_tick_is_when_something_is_due(changes, due):
    watched = Watched(**changes)
    assert watched.next(0) == pytest.approx(due)
    assert watched.next(100) == TICK_S_MIN


def test_12_3_after_the_warning_the_timeout_is_next():
    watched = Watched(inactivity_warning_after=5, inactivity_timeout=25)
    watched.tick(5)
    assert watched.next(5) == pytest.approx(20)


@given(
    st.lists(st.tuples(st.sampled_from(["event", "beat", "tick"]), st.floats(0.01, 8)), max_size=60)
)
def test_law_a_silent_turn_is_cancelled_in_time_and_a_busy_one_never(story):
    """Whatever else happens: no cancel before the timeout, and none later than its tick."""
    watched = Watched(inactivity_timeout=10, inactivity_warning_after=5)
    now = last = 0.0
    for what, pause in story:
        now += pause
        if what == "event":
            watched.see(now, MESSAGE)
            last = now if watched.state.phase is Watch.WATCHING else last
        elif what == "beat":
            watched.report(now)
        else:
            decisions = watched.tick(now)
            cancels = [d for d in decisions if isinstance(d, CancelTurn)]
            assert not cancels or now - last >= 10 - 1e-6
            overdue = now - last >= 10 + 1e-6
            assert not overdue or watched.state.phase is not Watch.WATCHING


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"activity_heartbeat_interval": 0}, "activity_heartbeat_interval"),
        ({"timeout_cancel_grace": 0}, "timeout_cancel_grace"),
        ({"timeout_cancel_grace": -1}, "timeout_cancel_grace"),
        ({"progress_notify_interval": -1}, "progress_notify_interval"),
        ({"prompt_deadline": float("nan")}, "prompt_deadline"),
        ({"inactivity_warning_after": 5, "inactivity_timeout": 4}, "inactivity_timeout"),
    ],
)
def test_12_1_bad_settings_are_named(fields, key):
    with pytest.raises(SessionValueError, match=rf"session\.supervision\.{key}"):
        resolve_supervision(config(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"inactivity_warning_after": 5},
        {"inactivity_warning_after": 5, "inactivity_timeout": 5},
        {"inactivity_timeout": 4},
    ],
)
def test_12_1_settings_are_used_as_given(fields):
    assert resolve_supervision(config(**fields)) == config(**fields)


def test_12_1_all_zero_is_all_defaults():
    zero = SessionSupervisionConfig(0, 0, 0, 0, 0, 0)
    assert resolve_supervision(zero) == SessionSupervisionConfig(30, 600, 0, 900, 1800, 30)


@pytest.mark.parametrize("field", ["iteration_current", "iteration_max", "idle_seconds"])
def test_3_2_negative_counters_are_refused(field):
    with pytest.raises(SessionValueError) as caught:
        SessionActivityMeta(**{field: -1})
    assert caught.value.field == field
