"""Commands about one session: new, prompt, steer, interrupt, cancel, approve, stop, resume, rm."""

from __future__ import annotations

from pathlib import Path

import click

from ...storage.format.transcript import to_json, ui_message_text
from ..errors import SessionNotFoundError
from ..model.turn import SendPromptResult
from .connection import any_manager, running_manager
from .rendering import echo_json, row_line
from .run import converse


def new(
    *, home: Path | None, agent: str, workspace: Path, name: str, permissions: str, as_json: bool
) -> None:
    """Create a session in the running runtime and print its id."""
    with running_manager(home) as manager:
        session = manager.create(
            agent_name=agent,
            workspace_path=str(workspace.absolute()),
            name=name,
            permissions=permissions,
        )
        if as_json:
            echo_json(session.info())
        else:
            click.echo(session.id)


def prompt(
    *,
    home: Path | None,
    session_id: str,
    text: str,
    mode: str | None,
    answer: str | None,
    as_json: bool,
) -> bool:
    """Prompt a live session and stream the answer, or say what became of it when it is busy."""
    with running_manager(home) as manager:
        session = manager.get(session_id)
        if session is None:
            raise SessionNotFoundError(f'no live session "{session_id}"; see: greenroom ls')
        if mode is None:
            stream = session.prompt(text)
        else:
            result = session.send_prompt(text, mode=mode)
            if result.events is None:
                _tell(result, as_json)
                return True
            stream = result.events
        ended = converse(session, stream, answer, as_json)
        return ended is not None and ended.type == "done"


def steer(*, home: Path | None, session_id: str, text: str, as_json: bool) -> None:
    """Steer the running turn."""
    with running_manager(home) as manager:
        _tell(manager.steer_prompt(session_id, text), as_json)


def interrupt(*, home: Path | None, session_id: str, as_json: bool) -> None:
    """Cancel the running turn and what is queued."""
    with running_manager(home) as manager:
        _tell(manager.interrupt_prompt(session_id), as_json)


def approve(*, home: Path | None, session_id: str, request_id: str, decision: str) -> None:
    """Answer a permission request."""
    with running_manager(home) as manager:
        manager.approve_permission(session_id, decision=decision, request_id=request_id)


def stop(*, home: Path | None, session_id: str) -> None:
    """Stop a live session."""
    with running_manager(home) as manager:
        manager.stop(session_id)


def resume(*, home: Path | None, session_id: str, as_json: bool) -> None:
    """Start a stored session again in the running runtime."""
    with running_manager(home) as manager:
        session = manager.resume(session_id)
        if as_json:
            echo_json(session.info())
        else:
            click.echo(f"{session.id} {session.state}")


def clear(*, home: Path | None, session_id: str, as_json: bool) -> None:
    """Replace the conversation of a session by an empty one."""
    with running_manager(home) as manager:
        session = manager.clear_conversation(session_id)
        if as_json:
            echo_json(session.info())
        else:
            click.echo(f"{session.id} {session.state}, conversation cleared")


def remove(*, home: Path | None, session_id: str) -> None:
    """Delete a session, live or stored."""
    with any_manager(home) as manager:
        manager.delete(session_id)


def repair(
    *, home: Path | None, session_id: str, dry_run: bool, force: bool, as_json: bool
) -> None:
    """Repair an interrupted history and tell what was found and done."""
    with any_manager(home) as manager:
        result = manager.repair_session(session_id, dry_run=dry_run, force=force)
    if as_json:
        echo_json(result)
        return
    for issue in result.issues:
        click.echo(f"{issue.severity}: {issue.code} {issue.detail}".rstrip())
    for action in result.actions:
        done = "appended" if action.persisted else "would append"
        click.echo(f"{done}: {action.code} {action.tool_call_id}".rstrip())
    if not result.issues and not result.actions:
        click.echo("nothing to repair")


def transcript(*, home: Path | None, session_id: str, as_json: bool) -> None:
    """Print the conversation as Markdown, or one JSON message a line."""
    with any_manager(home) as manager:
        for message in manager.transcript(session_id):
            text = ui_message_text(message)
            if as_json:
                echo_json(to_json(message))
            elif text.strip():
                click.echo(f"## {message.role}\n\n{text.strip()}\n")


def history(*, home: Path | None, session_id: str, as_json: bool) -> None:
    """Print the stored events."""
    from .tail import row_document

    with any_manager(home) as manager:
        for row in manager.events(session_id):
            if as_json:
                echo_json(row_document(row))
            else:
                click.echo(row_line(row))


def _tell(result: SendPromptResult, as_json: bool) -> None:
    if as_json:
        echo_json(result)
        return
    place = f" at position {result.queue_position}" if result.queue_position else ""
    click.echo(f"{result.status}{place}")
