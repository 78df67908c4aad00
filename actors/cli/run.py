"""``greenroom run``: one prompt, its answer streamed, permissions asked at the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..core.turn import check_message
from ..manager.handle import Session
from ..manager.manager import SessionManager
from ..manager.remote import RemoteSession
from ..manager.remote_stream import RemotePromptStream
from ..model.event import AgentEvent, EventType, RawJSON
from ..model.settings import LIFECYCLE_TIMEOUT
from ..session.stream import PromptStream
from .keys import ANSWERS
from .rendering import Renderer, echo_json, event_document

AnySession = Session | RemoteSession
AnyStream = PromptStream | RemotePromptStream


def run_prompt(
    *,
    home: Path | None,
    prompt: str,
    agent: str,
    workspace: Path,
    session_id: str | None,
    permissions: str,
    answer: str | None,
    as_json: bool,
) -> bool:
    """Run one prompt to its end; whether it ended well."""
    check_message(prompt, session_id or "")
    with SessionManager(home) as manager:
        if session_id:
            session = manager.resume(session_id)
        else:
            session = manager.create(
                agent_name=agent, workspace_path=str(workspace), permissions=permissions
            )
        _note(f"session {session.id} · agent {session.agent_name} · {session.workspace}", as_json)
        try:
            ended = converse(session, session.prompt(prompt), answer, as_json)
        except KeyboardInterrupt:
            session.cancel(timeout=LIFECYCLE_TIMEOUT)
            raise
        finally:
            _stop(manager, session)
        _note(f'\ngo on with: greenroom run --session {session.id} "..."', as_json)
    return ended is not None and ended.type == EventType.DONE


def converse(
    session: AnySession, stream: AnyStream, answer: str | None, as_json: bool
) -> AgentEvent | None:
    """Show a turn as it goes, and answer what it asks; returns its terminal event."""
    renderer = Renderer()
    for event in stream:
        if as_json:
            echo_json(event_document(event))
        else:
            renderer.show(event)
        if event.type == EventType.PERMISSION and not event.decision:
            decision = answer or _ask(event)
            session.approve(decision=decision, request_id=event.request_id)
    return stream.result()


def _ask(event: AgentEvent) -> str:
    """Ask at the terminal; where there is none, the answer is no."""
    if not sys.stdin.isatty():
        _note("no terminal to ask at: rejected (use --yes or --no)", False)
        return "reject-once"
    offered = {
        str(option.get("decision", "")) for option in _options(event.raw) if option.get("decision")
    }
    keys = [key for key, decision in ANSWERS.items() if decision in offered] or ["y", "n"]
    chosen = click.prompt(f"{event.title}: allow?", type=click.Choice(keys), default="n", err=True)
    return ANSWERS[chosen]


def _options(raw: RawJSON | None) -> list[dict[str, object]]:
    value = None if raw is None else raw.value
    options = value.get("options") if isinstance(value, dict) else None
    return [option for option in options or [] if isinstance(option, dict)]


def _stop(manager: SessionManager, session: Session) -> None:
    if manager.get(session.id) is not None:
        session.stop(timeout=2 * LIFECYCLE_TIMEOUT)


def _note(text: str, as_json: bool) -> None:
    if not as_json:
        click.secho(text, dim=True, err=True)
