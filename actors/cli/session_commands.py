"""The commands about one session. Each imports what it needs when it runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .failures import one_line
from .group import (
    AGENT_OPTION,
    HOME_OPTION,
    JSON_OPTION,
    PERMISSIONS_OPTION,
    SESSION_ARGUMENT,
    greenroom,
)


@greenroom.command()
@AGENT_OPTION
@click.option("--workspace", type=click.Path(path_type=Path), default=Path())
@click.option("--name", default="", help="Display name.")
@PERMISSIONS_OPTION
@HOME_OPTION
@JSON_OPTION
@one_line
def new(
    agent: str,
    workspace: Path,
    name: str,
    permissions: str,
    home: Path | None,
    as_json: bool,
) -> None:
    """Create a session in the running runtime and print its id."""
    from .sessions import new as create

    create(
        home=home,
        agent=agent,
        workspace=workspace,
        name=name,
        permissions=permissions,
        as_json=as_json,
    )


@greenroom.command()
@SESSION_ARGUMENT
@click.argument("text")
@click.option(
    "--mode",
    type=click.Choice(["queue", "interrupt", "steer"]),
    help="What to do when the session is busy (default: refuse).",
)
@click.option("--yes", "answer", flag_value="allow-once", help="Allow whatever it asks for.")
@click.option("--no", "answer", flag_value="reject-once", help="Reject whatever it asks for.")
@HOME_OPTION
@JSON_OPTION
@one_line
def prompt(
    session_id: str,
    text: str,
    mode: str | None,
    answer: str | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Prompt a live session with TEXT and stream the answer."""
    from .sessions import prompt as send

    ok = send(
        home=home, session_id=session_id, text=text, mode=mode, answer=answer, as_json=as_json
    )
    sys.exit(0 if ok else 1)


@greenroom.command()
@SESSION_ARGUMENT
@click.option(
    "--last",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="How many stored events to show first.",
)
@HOME_OPTION
@one_line
def attach(session_id: str, last: int, home: Path | None) -> None:
    """Type while a session works: prompt, steer, interrupt it, answer what it asks.

    Lines of a pipe are sent one after the other; the command ends when all is done. Ctrl-C ends
    the running turn, Ctrl-D leaves.
    """
    from .attach import attach as join

    join(home=home, session_id=session_id, last=last)


@greenroom.command()
@SESSION_ARGUMENT
@click.argument("text")
@HOME_OPTION
@JSON_OPTION
@one_line
def steer(session_id: str, text: str, home: Path | None, as_json: bool) -> None:
    """Give the running turn a new direction at its next tool boundary."""
    from .sessions import steer as stage

    stage(home=home, session_id=session_id, text=text, as_json=as_json)


@greenroom.command()
@SESSION_ARGUMENT
@HOME_OPTION
@JSON_OPTION
@one_line
def interrupt(session_id: str, home: Path | None, as_json: bool) -> None:
    """Cancel the running turn and drop what is queued."""
    from .sessions import interrupt as fence

    fence(home=home, session_id=session_id, as_json=as_json)


@greenroom.command()
@SESSION_ARGUMENT
@click.argument("request_id")
@click.option(
    "--decision",
    type=click.Choice(["allow-once", "allow-always", "reject-once", "reject-always"]),
    default="allow-once",
    show_default=True,
)
@HOME_OPTION
@one_line
def approve(session_id: str, request_id: str, decision: str, home: Path | None) -> None:
    """Answer a permission request."""
    from .sessions import approve as decide

    decide(home=home, session_id=session_id, request_id=request_id, decision=decision)


@greenroom.command()
@SESSION_ARGUMENT
@HOME_OPTION
@one_line
def stop(session_id: str, home: Path | None) -> None:
    """Stop a live session."""
    from .sessions import stop as end

    end(home=home, session_id=session_id)


@greenroom.command()
@SESSION_ARGUMENT
@HOME_OPTION
@JSON_OPTION
@one_line
def resume(session_id: str, home: Path | None, as_json: bool) -> None:
    """Start a stored session again in the running runtime."""
    from .sessions import resume as start

    start(home=home, session_id=session_id, as_json=as_json)


@greenroom.command()
@SESSION_ARGUMENT
@HOME_OPTION
@JSON_OPTION
@one_line
def clear(session_id: str, home: Path | None, as_json: bool) -> None:
    """Begin an empty conversation in a session of the running runtime."""
    from .sessions import clear as begin

    begin(home=home, session_id=session_id, as_json=as_json)


@greenroom.command()
@SESSION_ARGUMENT
@HOME_OPTION
@one_line
def rm(session_id: str, home: Path | None) -> None:
    """Delete a session and everything stored of it."""
    from .sessions import remove

    remove(home=home, session_id=session_id)


@greenroom.command()
@SESSION_ARGUMENT
@HOME_OPTION
@JSON_OPTION
@one_line
def transcript(session_id: str, home: Path | None, as_json: bool) -> None:
    """Print the conversation, as Markdown or JSON."""
    from .sessions import transcript as tell

    tell(home=home, session_id=session_id, as_json=as_json)


@greenroom.command()
@SESSION_ARGUMENT
@HOME_OPTION
@JSON_OPTION
@one_line
def history(session_id: str, home: Path | None, as_json: bool) -> None:
    """Print the stored events of a session."""
    from .sessions import history as tell

    tell(home=home, session_id=session_id, as_json=as_json)


@greenroom.command()
@SESSION_ARGUMENT
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "cbor", "archive"]),
    default="jsonl",
    show_default=True,
    help="Values as JSON lines or CBOR, or the session's own files as a tar.gz.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write (default: standard output).",
)
@HOME_OPTION
@one_line
def export(session_id: str, form: str, output: Path | None, home: Path | None) -> None:
    """Write a whole session: its record, every event, usage, permission log, hook runs.

    An archive holds the session's directory as it is, with a manifest; the session must be stopped.
    """
    from .export import export as write

    write(home=home, session_id=session_id, form=form, output=output)


@greenroom.command()
@SESSION_ARGUMENT
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--force", is_flag=True, help="Also repair a session that was stopped on purpose.")
@HOME_OPTION
@JSON_OPTION
@one_line
def repair(session_id: str, dry_run: bool, force: bool, home: Path | None, as_json: bool) -> None:
    """Close the interrupted turn of a stopped session."""
    from .sessions import repair as mend

    mend(home=home, session_id=session_id, dry_run=dry_run, force=force, as_json=as_json)
