"""Transcript markers: what happened around the conversation, as rows of it (02 13, 03 2.5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..errors import InvalidMarkerError
from ..model.event import AgentEvent, EventType, RawJSON
from ..model.failure import bound_text
from ..model.marker import MarkerKind
from ..model.turn import QueueEntry

MARKER_SUMMARY_BYTES_MAX = 2048


def marker(
    kind: str,
    summary: str,
    *,
    turn_id: str,
    now: datetime,
    evidence: Mapping[str, Any] | None = None,
) -> AgentEvent:
    """The event that records a marker.

    :param turn_id: the turn it belongs to; never blank, the store would refuse the row.
    :raises InvalidMarkerError: an unknown kind or a blank summary.
    """
    if kind not in set(MarkerKind) or not summary.strip():
        raise InvalidMarkerError(f'marker "{kind}" with summary "{summary}" is not valid')
    text = bound_text(summary, MARKER_SUMMARY_BYTES_MAX)
    body: dict[str, Any] = {"kind": str(kind), "occurred_at": now, "summary": text}
    if evidence:
        body["evidence"] = dict(evidence)
    return AgentEvent(
        type=EventType.MARKER_CREATED,
        turn_id=turn_id,
        timestamp=now,
        title=kind,
        text=text,
        raw=RawJSON.of(body),
    )


def queue_evidence(entry: QueueEntry, position: int = 0) -> dict[str, Any]:
    """What a marker tells about a queue entry (02 13, E)."""
    evidence: dict[str, Any] = {
        "queue_entry_id": entry.id,
        "queue_generation": entry.session_generation,
        "queue_status": str(entry.status),
        "mode": str(entry.mode),
    }
    if position > 0:
        evidence["queue_position"] = position
    return evidence
