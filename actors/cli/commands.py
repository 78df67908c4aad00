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
