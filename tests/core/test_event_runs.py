"""Events held by the run are the same events for whoever looks (03 2.2, 3.3)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from greenroom.actors.core.redaction import Redactor, redact_agent_event, redact_events
from greenroom.actors.model.event import AgentEvent, RawJSON
from greenroom.actors.model.runs import (
    Events,
    TextRun,
    head_of,
    heads_of,
    kept,
    of_runs,
    runs_of,
)
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)
SAID = AgentEvent(type="agent_message", session_id="acp-1", turn_id="t-1", timestamp=NOON)
DONE = AgentEvent(type="done", turn_id="t-1", stop_reason="end_turn")
SECRETS = st.sampled_from(["", "hi", "token=abcdefgh", "Bearer abc", "hush-hush-1", "a: b"])


def run_of(*texts):
    return TextRun(SAID, list(texts), [RawJSON.of({"text": text, "n": 1}) for text in texts])


def each_of(*texts):
    raws = [RawJSON.of({"text": text, "n": 1}) for text in texts]
    return tuple(
        AgentEvent(
            type="agent_message",
            session_id="acp-1",
            turn_id="t-1",
            timestamp=NOON,
            text=text,
            raw=raw,
        )
        for text, raw in zip(texts, raws, strict=True)
    )


def test_a_run_is_the_events_it_stands_for():
    events = of_runs([run_of("a", "b"), DONE])
    assert isinstance(events, Events)
    assert (len(events), bool(events)) == (3, True)
    assert events == (*each_of("a", "b"), DONE)
    assert hash(events) == hash((*each_of("a", "b"), DONE))
    assert (events[-1], events[:2]) == (DONE, each_of("a", "b"))
    assert events != [*each_of("a", "b"), DONE]
    assert repr(events).startswith("Events([AgentEvent(")
    assert [event.type for event in heads_of(events)] == ["agent_message", "done"]
    assert run_of("a", "b").last.text == "b"


def test_events_without_a_run_stay_a_tuple():
    events = of_runs([DONE, DONE])
    assert type(events) is tuple
    assert runs_of(events) is events
    assert head_of(DONE) is DONE
    assert kept([DONE]) == (DONE,)


def test_a_value_is_kept_as_it_is():
    events = of_runs([run_of("a")])
    assert kept(events) is events


@given(st.lists(SECRETS, min_size=1, max_size=5))
def test_3_3_a_run_is_redacted_as_its_events_are(texts):
    redactor = Redactor()
    redactor.register("hush-hush-1")
    shown = redact_events(of_runs([run_of(*texts)]), redactor)
    assert shown == tuple(redact_agent_event(event, redactor) for event in each_of(*texts))
    assert [event.raw.data for event in shown] == [
        redactor.redact_raw(event.raw).data for event in each_of(*texts)
    ]


def test_3_3_a_raw_value_looked_at_later_hides_what_was_secret_when_it_came():
    redactor = Redactor()
    release = redactor.register("hush-hush-1")
    shown = redact_events(of_runs([run_of("hush-hush-1")]), redactor)
    release()
    assert b"hush" not in shown[0].raw.data
    assert b"hush" in redact_events(of_runs([run_of("hush-hush-1")]), redactor)[0].raw.data


@pytest.mark.parametrize("events", [(), (DONE,)])
def test_3_3_events_without_a_run_are_redacted_one_by_one(events):
    assert redact_events(events, Redactor()) == events
