"""``greenroom tail``: events as they are stored, from now or from any earlier point."""

from __future__ import annotations

from pathlib import Path

import click

from ...transport.bus.subscriber import Subscriber
from ..manager.options import default_home
from ..model.event import SessionEvent
from .rendering import echo_json, row_line


def follow(*, home: Path | None, session_id: str | None, start: str, as_json: bool) -> None:
    """Print events until interrupted; the cursor to go on from is printed last."""
    after = {"now": Subscriber.NOW, "0": None, "": None}.get(start, start)
    with Subscriber(home or default_home(), session_id=session_id, after=after) as subscriber:
        try:
            for row in subscriber:
                if as_json:
                    echo_json(row_document(row))
                else:
                    click.echo(row_line(row))
        except KeyboardInterrupt:
            click.secho(f"\ngo on with: --from '{subscriber.cursor()}'", dim=True, err=True)


def row_document(row: SessionEvent) -> dict[str, object]:
    """A stored row as ``--json`` prints it."""
    return {
        "id": row.id,
        "session_id": row.session_id,
        "epoch": row.epoch,
        "sequence": row.sequence,
        "turn_id": row.turn_id,
        "type": row.type,
        "agent_name": row.agent_name,
        "timestamp": row.timestamp,
        "event": row.event,
    }
