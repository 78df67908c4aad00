"""How an event looks in a terminal: running text for messages, a line for everything else."""

from __future__ import annotations

import click
import msgspec

from ..model.event import AgentEvent, EventType, SessionEvent

LINES: dict[str, tuple[str, str]] = {
    EventType.USER_MESSAGE: ("»", "cyan"),
    EventType.TOOL_CALL: ("⚙", "yellow"),
    EventType.TOOL_RESULT: ("✓", "green"),
    EventType.PERMISSION: ("?", "magenta"),
    EventType.ERROR: ("✗", "red"),
    EventType.SESSION_STOPPED: ("■", "bright_black"),
    EventType.MARKER_CREATED: ("·", "bright_black"),
    EventType.RUNTIME_WARNING: ("!", "yellow"),
    EventType.DONE: ("●", "green"),
}
"""Sign and colour of the events that get a line."""


class Renderer:
    """Prints events as a person reads them; knows whether a line of text is open."""

    def __init__(self) -> None:
        self._open = ""

    def show(self, event: AgentEvent) -> None:
        """Print one event."""
        if event.type in (EventType.AGENT_MESSAGE, EventType.THOUGHT):
            self._text(event)
        elif event.type in LINES:
            self._close()
            sign, colour = LINES[event.type]
            click.secho(f"{sign} {describe(event)}", fg=colour)

    def _text(self, event: AgentEvent) -> None:
        if self._open != event.type:
            self._close()
        self._open = event.type
        thought = event.type == EventType.THOUGHT
        click.secho(event.text, nl=False, dim=thought, italic=thought or None)

    def _close(self) -> None:
        if self._open:
            click.echo()
            self._open = ""


def describe(event: AgentEvent) -> str:
    """The facts of an event on one line."""
    match event.type:
        case EventType.PERMISSION:
            told = event.decision or "asks for permission"
            return f"{event.title or event.resource}: {told}"
        case EventType.TOOL_CALL | EventType.TOOL_RESULT:
            return event.title or event.tool_call_id
        case EventType.DONE:
            return f"done ({event.stop_reason})"
        case EventType.ERROR:
            return event.error or "error"
        case EventType.SESSION_STOPPED:
            return f"session stopped ({event.stop_reason})"
        case _:
            return event.text or event.title


def row_line(row: SessionEvent) -> str:
    """A stored row on one line, for tails."""
    text = " ".join(describe(row.event).split())
    return f"{row.session_id} {row.epoch}:{row.sequence:<5} {row.type:<26} {text}".rstrip()


def event_document(event: AgentEvent) -> dict[str, object]:
    """The members of an event, its raw JSON as the value it is."""
    document: dict[str, object] = msgspec.to_builtins(msgspec.structs.replace(event, raw=None))
    if event.raw is not None:
        document["raw"] = event.raw.value
    return document


def echo_json(value: object) -> None:
    """One compact JSON value on a line of its own."""
    click.echo(msgspec.json.encode(value).decode())
