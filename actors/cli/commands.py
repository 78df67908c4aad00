"""The commands about a home and its runtime. Each imports what it needs when it runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .failures import USAGE, OneLine, one_line
from .group import AGENT_OPTION, HOME_OPTION, JSON_OPTION, PERMISSIONS_OPTION, greenroom


@greenroom.command()
@click.argument("prompt", required=False)
@AGENT_OPTION
@click.option(
    "--workspace",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Directory the agent works in (default: the current one).",
)
@click.option("--session", "session_id", help="Go on with a stored session.")
@PERMISSIONS_OPTION
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
@click.option("--probe", is_flag=True, help="Start those that are installed and open a session.")
@JSON_OPTION
@one_line
def agents(probe: bool, as_json: bool) -> None:
    """List the agents that can be run, and which of them are installed."""
    from .agents import list_agents

    list_agents(probe=probe, as_json=as_json)


@greenroom.command()
@click.option("--fix", is_flag=True, help="Put right what can be; without it nothing is changed.")
@click.option("--agent", "agent_name", help="Examine an agent, not the home.")
@HOME_OPTION
@JSON_OPTION
@one_line
def doctor(fix: bool, agent_name: str | None, home: Path | None, as_json: bool) -> None:
    """Say what is wrong with the home: damage, leftovers, locks, and what to do about it.

    With --agent: whether it is installed, which version, and whether it opens a session.
    """
    if agent_name is not None:
        from .agents import examine_agent

        sys.exit(0 if examine_agent(agent_name, as_json=as_json) else 1)
    from .doctor import doctor as examine

    sys.exit(0 if examine(home=home, fix=fix, as_json=as_json) else 1)


@greenroom.command()
@click.option("--listen", default="", metavar="HOST:PORT", help="Let clients with keys in by TCP.")
@click.option("--keep", is_flag=True, help="Start the sessions again that live when it ends.")
@click.option("--log-json", is_flag=True, help="Log JSON lines.")
@HOME_OPTION
@one_line
def serve(listen: str, keep: bool, log_json: bool, home: Path | None) -> None:
    """Run a runtime for other processes, until SIGTERM or Ctrl-C; a second one hurries it.

    With --listen events are at PORT, catching up and calls at the next two; see `greenroom keys`.
    """
    from .serve import serve as serve_home

    serve_home(home=home, listen=listen, keep=keep, log_json=log_json)


@greenroom.command()
@click.option("--every", type=click.FloatRange(min=0.1), default=1.0, show_default=True)
@HOME_OPTION
@JSON_OPTION
@one_line
def top(every: float, home: Path | None, as_json: bool) -> None:
    """Watch the sessions of the running runtime; with --json print one snapshot."""
    from .top import top as watch

    watch(home=home, every_s=every, as_json=as_json)
