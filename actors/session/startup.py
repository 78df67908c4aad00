"""Starting a session, new or resumed, as a list of steps with their undoing (01 7.1, 8).

=====================  =======================================  ==========================
step                   does                                     undone by
=====================  =======================================  ==========================
``OPEN_STORE``         directory, store, next epoch             close; remove a new directory
``WRITE_META``         meta in state ``starting``               (goes with the directory)
``START_ACTOR``        mailbox, step, interpreter               stop
``START_AGENT``        process, handshake                       driver stop
``ACTIVATE``           state ``active``, meta, exit watch       (last)
=====================  =======================================  ==========================

An agent that does not start leaves a stopped session one can look into (01 7.13): its record is
finalized by the actor and nothing of it is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ...storage.home import HomeStore
from ...storage.readonly import SessionReader
from ...storage.session_records import forgotten
from ...storage.session_store import SessionStore, StateOp
from ...transport.agent.context import CallContext
from ..core.busy_input import GENERATION_KEY, GENERATION_TABLE, QUEUE_TABLE, load
from ..core.clear import fenced_queue
from ..core.inputs import AgentStartFailed
from ..core.state import SessionState
from ..errors import AgentNotAvailableError, CallerError, HookFailedError
from ..model.restart import RestartPolicy
from ..model.settings import (
    LIFECYCLE_TIMEOUT,
)
from ..runtime.future import GreenFuture
from .actor import start_actor
from .agent_start import (
    StartPlan,
    failure_of,
    launch_agent,
    started,
    tell_spawned,
    watch_exit,
)
from .documents import Documents, OsDocuments
from .live import LiveSession
from .ports import SessionPorts
from .waits import answer

PortsFactory = Callable[[StartPlan, SessionStore], SessionPorts]


@dataclass(slots=True)
class Launch:
    """A start under way."""

    plan: StartPlan
    home: HomeStore
    ports_for: PortsFactory
    context: CallContext
    documents: Documents = field(default_factory=OsDocuments)
    store: SessionStore | None = None
    live: LiveSession | None = None
    finalized: bool = False
    """The failed start was recorded by the actor, which also closed what it used."""


@dataclass(frozen=True, slots=True)
class StartStep:
    """One step and what takes it back."""

    do: Callable[[Launch], None]
    undo: Callable[[Launch], None]


def start_session(launch: Launch) -> LiveSession:
    """Run the steps; on a failure undo those that were done, newest first.

    :raises SessionError: what failed, or an ``ExceptionGroup`` of it and failures of the undoing.
    :raises TimeoutError: the context of the launch ran out.
    """
    done: list[StartStep] = []
    try:
        for step in STEPS:
            done.append(step)
            step.do(launch)
            launch.context.check()
    except Exception as error:
        failures = _undo(launch, reversed(done))
        if failures:
            raise ExceptionGroup(str(error), [error, *failures]) from error
        raise
    assert launch.live is not None
    return launch.live


def _undo(launch: Launch, done: Iterable[StartStep]) -> list[Exception]:
    failures: list[Exception] = []
    for step in done:
        try:
            step.undo(launch)
        except Exception as failure:
            failures.append(failure)
    return failures


def open_store(launch: Launch) -> None:
    """The store in a new epoch; a new session gets its directory."""
    plan = launch.plan
    if plan.clears:
        launch.store = _empty_store(launch)
        return
    launch.store = launch.home.open_session(plan.meta.id, create=plan.resumed is None)


def _empty_store(launch: Launch) -> SessionStore:
    """The store without its conversation; the queue is fenced in the commit that opens it."""
    meta = launch.plan.meta
    opened: GreenFuture[Exception | None] = GreenFuture()

    def fence(reader: SessionReader) -> list[StateOp]:
        changes = fenced_queue(*_stored_queue(reader), meta.updated_at)
        fenced = [StateOp(change.table, change.key, change.document) for change in changes]
        return [*fenced, *forgotten(reader)]

    store = launch.home.clear_session(meta.id, fence, done=opened.set)
    launch.store = store
    error = answer(opened, LIFECYCLE_TIMEOUT, "open the store")
    if error is not None:
        raise error
    return store


def close_store(launch: Launch) -> None:
    """Close the store; of a session that never existed nothing stays."""
    if launch.finalized:
        return
    if launch.store is not None:
        closed: GreenFuture[Exception | None] = GreenFuture()
        launch.store.close(closed.set)
        answer(closed, LIFECYCLE_TIMEOUT, "close the store")
    if launch.plan.resumed is None:
        launch.documents.remove_tree(launch.plan.directory)


def write_meta(launch: Launch) -> None:
    """The record in state ``starting`` is on disk before anything runs."""
    assert launch.store is not None
    ports = launch.ports_for(launch.plan, launch.store)
    answer(ports.meta_writer.put(launch.plan.meta), LIFECYCLE_TIMEOUT, "write meta")
    launch.live = LiveSession(_initial_state(launch.plan, launch.store, ports), ports)


def restore_meta(launch: Launch) -> None:
    """A failed resume leaves the meta as it was."""
    if launch.live is None or launch.finalized or launch.plan.resumed is None:
        return
    written = launch.live.ports.meta_writer.put(launch.plan.resumed)
    answer(written, LIFECYCLE_TIMEOUT, "restore meta")


def run_actor(launch: Launch) -> None:
    """From here on the session takes messages."""
    start_actor(_live(launch))


def stop_actor(launch: Launch) -> None:
    """Take the actor down unless its own finalization did."""
    if not launch.finalized and launch.live is not None and launch.live.ref is not None:
        launch.live.retire()


def start_agent(launch: Launch) -> None:
    """Launch the agent and open its session; a failure becomes the session's record.

    A mistake of the caller, such as a command that is not installed, leaves nothing behind.
    """
    live, plan = _live(launch), launch.plan
    try:
        live.ports.process = launch_agent(launch.context, live, plan)
    except AgentNotAvailableError as error:
        hint = f"; install it with `{plan.agent.install_hint}`" if plan.agent.install_hint else ""
        raise AgentNotAvailableError(f"{error}{hint}", agent_name=plan.agent.name) from error
    except HookFailedError as error:
        _record_failure(launch, error)
        raise
    except CallerError:
        raise
    except Exception as error:
        _record_failure(launch, error)
        raise


def _record_failure(launch: Launch, error: Exception) -> None:
    live, plan = _live(launch), launch.plan
    live.ports.logger.warning(
        'session.start.driver_start_failed session_id="%s" agent_name="%s" provider="%s" '
        "phase=%s: %s",
        plan.meta.id,
        plan.meta.agent_name,
        plan.meta.provider,
        "create" if plan.resumed is None else "resume",
        live.ports.redactor.redact(str(error)),
    )
    restore = None if plan.resumed is None else replace(plan.resumed, updated_at=_now(live))
    failure = live.ports.bundles.attach(
        failure_of(error), live.state.meta, live.ports.process, error=str(error)
    )
    recorded = live.ask(lambda ask: AgentStartFailed(ask, failure, restore))
    answer(recorded, 3 * LIFECYCLE_TIMEOUT, "record a failed start")
    launch.finalized = True


def stop_agent(launch: Launch) -> None:
    """End the process of a start that failed after it."""
    live = launch.live
    if live is not None and live.ports.process is not None and not launch.finalized:
        live.ports.driver.stop(CallContext.after(2 * LIFECYCLE_TIMEOUT), live.ports.process)


def activate(launch: Launch) -> None:
    """State ``active`` on disk; only then is the exit of the process looked at (01 7.12)."""
    live = _live(launch)
    process = live.ports.process
    assert process is not None
    restored = bool(launch.plan.meta.acp_session_id)
    active = live.ask(lambda ask: started(process, ask, restored))
    answer(active, LIFECYCLE_TIMEOUT, "activate")
    answer(live.ports.meta_writer.flush(), LIFECYCLE_TIMEOUT, "write meta")
    tell_spawned(live, process)
    watch_exit(live, process)


def _initial_state(plan: StartPlan, store: SessionStore, ports: SessionPorts) -> SessionState:
    return SessionState(
        meta=plan.meta,
        workspace=plan.workspace,
        id_seed=plan.id_seed,
        lost=plan.lost,
        busy_input=plan.busy_input,
        supervision=plan.supervision,
        queue=load(*_stored_queue(store)),
        restart=RestartPolicy.of(plan.meta.restart),
        hooks=ports.hooks.listened,
        notifies_turn_end=ports.turn_end() is not None,
    )


def _stored_queue(
    store: SessionStore | SessionReader,
) -> tuple[Collection[dict[str, Any]], int]:
    """The documents of the input queue, and its generation."""
    generation = store.state_document(GENERATION_TABLE, GENERATION_KEY) or {}
    documents = store.state_documents(QUEUE_TABLE).values()
    return documents, int(generation.get("input_generation", 0))


def _live(launch: Launch) -> LiveSession:
    assert launch.live is not None
    return launch.live


def _now(live: LiveSession) -> datetime:
    return live.ports.clock.now()


STEPS: tuple[StartStep, ...] = (
    StartStep(open_store, close_store),
    StartStep(write_meta, restore_meta),
    StartStep(run_actor, stop_actor),
    StartStep(start_agent, stop_agent),
    StartStep(activate, lambda launch: None),
)
