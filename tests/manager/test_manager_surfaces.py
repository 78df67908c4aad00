"""One table of operations; every surface has each of them with the same parameters."""

from __future__ import annotations

import inspect

import pytest
from greenroom.actors import AsyncSessionManager, Session, SessionManager
from greenroom.actors.manager.daemon import PROMPTS, RESULTS
from greenroom.actors.manager.remote import RemoteSession, RemoteSessionManager
from greenroom.actors.manager.surfaces import OPERATIONS, Verbs

NOT_VERBS = {"close", "home", "endpoints", "aio", "set_turn_end_notifier"}
"""The last takes a callable, which can not travel."""
BOUND = {
    "stop": "stop",
    "prompt": "prompt",
    "send_prompt": "send_prompt",
    "steer": "steer_prompt",
    "interrupt": "interrupt_prompt",
    "cancel": "cancel_prompt",
    "cancel_queued": "cancel_queued_prompt",
    "approve": "approve_permission",
    "approve_permission": "approve_permission",
    "events": "events",
    "history": "history",
    "transcript": "transcript",
    "usage": "usage",
    "permission_log": "permission_log",
    "hook_runs": "hook_runs",
}


def parameters(function, *dropped):
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in found if p.name not in ("self", *dropped)]


def public(cls):
    return {n for n, v in vars(cls).items() if callable(v) and not n.startswith("_")} - NOT_VERBS


def test_the_table_lists_every_verb():
    verbs = {n for n in dir(Verbs) if callable(getattr(Verbs, n)) and not n.startswith("_")}
    assert verbs == set(OPERATIONS)
    for name, row in OPERATIONS.items():
        assert row.lane in ("work", "control", "none"), name
        assert row.role in ("read", "operate", "admin"), name


@pytest.mark.parametrize("surface", [SessionManager, AsyncSessionManager, RemoteSessionManager])
def test_a_surface_has_exactly_the_verbs_of_the_table(surface):
    assert public(surface) == set(OPERATIONS)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_parameters_and_documentation_are_the_same_everywhere(name):
    verb = getattr(Verbs, name)
    assert inspect.getdoc(verb), "a verb is documented"
    for surface in (SessionManager, AsyncSessionManager, RemoteSessionManager):
        assert parameters(getattr(surface, name)) == parameters(verb)
    assert inspect.iscoroutinefunction(getattr(AsyncSessionManager, name))


@pytest.mark.parametrize(("short", "verb"), BOUND.items())
def test_a_sessions_verbs_are_the_managers_without_the_id(short, verb):
    for handle in (Session, RemoteSession):
        assert parameters(getattr(handle, short), "session_id") == parameters(
            getattr(Verbs, verb), "session_id"
        )


def test_every_operation_can_be_called_from_another_process():
    assert {*RESULTS, *PROMPTS, "get", "transcript", "send_prompt"} == set(OPERATIONS)


def test_a_remote_handle_shows_what_a_handle_shows():
    def shown(cls):
        return {n for n, v in vars(cls).items() if isinstance(v, property)}

    assert shown(Session) - {"id"} == shown(RemoteSession)
