"""The commands: ``run``, ``tail``, ``ls``, ``agents``. Each imports what it needs when it runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .failures import USAGE, OneLine, one_line

HOME_OPTION = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="GREENROOM_HOME",
    help="Where sessions are stored (default: $GREENROOM_HOME, else the user's data directory).",
)
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="One JSON value per line.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="greenroom")
def greenroom() -> None:
    """Run AI coding agents as durable, supervised actors."""


@greenroom.command()
@click.argument("prompt", required=False)
@click.option("--agent", default="demo", show_default=True, help="See `greenroom agents`.")
@click.option(
    "--workspace",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Directory the agent works in (default: the current one).",
)
@click.option("--session", "session_id", help="Go on with a stored session.")
@click.option(
    "--permissions",
    type=click.Choice(["deny-all", "approve-reads", "approve-all"]),
    default="approve-reads",
    show_default=True,
    help="What the agent may do without asking.",
)
@click.option("--yes", "answer", flag_value="allow-once", help="Allow whatever the agent asks for.")
@click.option("--no", "answer", flag_value="reject-once", help="Reject whatever it asks for.")
@HOME_OPTION
@JSON_OPTION
@one_line
def run(
    prompt: str | None,
    agent: str,
    workspace: Path,
    session_id: str | None,
    permissions: str,
    answer: str | None,
    home: Path | None,
    as_json: bool,
) -> None:
    """Send one PROMPT (or standard input) to an agent and stream its answer.

    The session is stored; go on with it by --session.
    """
    from .run import run_prompt

    if prompt is None or prompt == "-":
        if sys.stdin.isatty():
            raise OneLine('give a prompt: greenroom run "what is in this directory?"', USAGE)
        prompt = sys.stdin.read()
    ok = run_prompt(
        home=home,
        prompt=prompt,
        agent=agent,
        workspace=workspace,
        session_id=session_id,
        permissions=permissions,
        answer=answer,
        as_json=as_json,
    )
    sys.exit(0 if ok else 1)


@greenroom.command()
@click.argument("session_id", required=False)
@click.option(
    "--from",
    "start",
    default="now",
    show_default=True,
    help='"now", "0" for the beginning, or a cursor that a tail printed.',
)
@HOME_OPTION
@JSON_OPTION
@one_line
def tail(session_id: str | None, start: str, home: Path | None, as_json: bool) -> None:
    """Follow the events of SESSION_ID, or of all sessions, of the runtime that owns the home."""
    from .tail import follow

    follow(home=home, session_id=session_id, start=start, as_json=as_json)


@greenroom.command()
@HOME_OPTION
@JSON_OPTION
@one_line
def ls(home: Path | None, as_json: bool) -> None:
    """List the sessions of the home."""
    from .listing import list_sessions

    list_sessions(home=home, as_json=as_json)


@greenroom.command()
@JSON_OPTION
@one_line
def agents(as_json: bool) -> None:
    """List the agents that can be run, and which of them are installed."""
    from .listing import list_agents

    list_agents(as_json=as_json)


SESSION_ARGUMENT = click.argument("session_id")
AGENT_OPTION = click.option(
    "--agent", default="demo", show_default=True, help="See `greenroom agents`."
)
PERMISSIONS_OPTION = click.option(
    "--permissions",
    type=click.Choice(["deny-all", "approve-reads", "approve-all"]),
    default="approve-reads",
    show_default=True,
    help="What the agent may do without asking.",
)


@greenroom.command()
@HOME_OPTION
@one_line
def serve(home: Path | None) -> None:
    """Run a runtime for other processes, until SIGTERM or Ctrl-C."""
    from .serve import serve as serve_home

    serve_home(home=home)


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
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--force", is_flag=True, help="Also repair a session that was stopped on purpose.")
@HOME_OPTION
@JSON_OPTION
@one_line
def repair(session_id: str, dry_run: bool, force: bool, home: Path | None, as_json: bool) -> None:
    """Close the interrupted turn of a stopped session."""
    from .sessions import repair as mend

    mend(home=home, session_id=session_id, dry_run=dry_run, force=force, as_json=as_json)
