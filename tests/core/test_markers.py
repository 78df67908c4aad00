"""spec 02 13, 03 2.5: the closed vocabulary of markers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from greenroom.actors.core.markers import MARKER_SUMMARY_BYTES_MAX, marker
from greenroom.actors.errors import InvalidMarkerError
from greenroom.actors.model.marker import MarkerKind

NOW = datetime(2026, 4, 3, tzinfo=UTC)


@pytest.mark.parametrize("kind", MarkerKind)
def test_every_kind(kind):
    event = marker(kind, "what happened", turn_id="turn-1", now=NOW, evidence={"a": 1})
    assert (event.type, event.title, event.text) == (
        "transcript_marker.created",
        kind,
        "what happened",
    )
    assert event.raw.value == {
        "kind": kind,
        "occurred_at": "2026-04-03T00:00:00Z",
        "summary": "what happened",
        "evidence": {"a": 1},
    }


def test_the_vocabulary_has_eleven_kinds():
    assert len(MarkerKind) == 11


@pytest.mark.parametrize(
    ("kind", "summary"), [("transcript_marker.other", "x"), (MarkerKind.PROMPT_CANCEL, "  ")]
)
def test_an_invalid_marker_is_refused(kind, summary):
    with pytest.raises(InvalidMarkerError):
        marker(kind, summary, turn_id="turn-1", now=NOW)


def test_a_summary_is_bounded_and_blank_evidence_left_out():
    event = marker(MarkerKind.PROMPT_CANCEL, "ü" * 5000, turn_id="t", now=NOW)
    assert len(event.text.encode()) <= MARKER_SUMMARY_BYTES_MAX
    assert event.text.endswith("...[truncated]")
    assert "evidence" not in event.raw.value
