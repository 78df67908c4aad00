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
from pathlib import Path
from typing import Any

import gevent

from ...storage.home import HomeStore
from ...storage.readonly import SessionReader
from ...storage.session_records import forgotten
from ...storage.session_store import SessionStore, StateOp
from ...transport.acp.failures import classified_failure, failure_from_error, make_failure
from ...transport.agent.context import CallContext
from ...transport.agent.protocol import AgentProcess, StartOpts
from ..core.busy_input import GENERATION_KEY, GENERATION_TABLE, QUEUE_TABLE, load
from ..core.clear import fenced_queue
from ..core.inputs import AgentEventsArrived, AgentExited, AgentStarted, AgentStartFailed
from ..core.state import SessionState
from ..errors import AgentExitedError, AgentNotAvailableError, CallerError
from ..model.agent import AgentDef, PermissionMode
from ..model.failure import FailureKind, SessionFailure
from ..model.restart import RestartPolicy
from ..model.session import SessionMeta
from ..model.settings import (
    LIFECYCLE_TIMEOUT,
    SessionBusyInputConfig,
    SessionSupervisionConfig,
)
from ..runtime.future import GreenFuture
from ..runtime.mailbox import Lane
from .actor import start_actor
from .documents import Documents, OsDocuments
from .live import LiveSession
from .ports import SessionPorts

STDERR_IN_EVENT_BYTES_MAX = 32 * 1024
"""How much of the agent's stderr an exit row carries (01 10.1 step 3)."""


@dataclass(frozen=True, slots=True)
class StartPlan:
    """What is started.

    :param meta: the record in state ``starting``.
    :param id_seed: what the incarnation makes its ids of.
    :param resumed: the meta a failed resume goes back to; ``None`` for a new session.
    :param clears: whether it begins with an empty conversation (01 13).
    """

    meta: SessionMeta
    workspace: str
    agent: AgentDef
    directory: Path
    busy_input: SessionBusyInputConfig
    supervision: SessionSupervisionConfig
    id_seed: str
    resumed: SessionMeta | None = None
    clears: bool = False


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
    error = opened.get(timeout=LIFECYCLE_TIMEOUT)
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
        closed.get(timeout=LIFECYCLE_TIMEOUT)
    if launch.plan.resumed is None:
        launch.documents.remove_tree(launch.plan.directory)


def write_meta(launch: Launch) -> None:
    """The record in state ``starting`` is on disk before anything runs."""
    assert launch.store is not None
    ports = launch.ports_for(launch.plan, launch.store)
    ports.meta_writer.put(launch.plan.meta).get(timeout=LIFECYCLE_TIMEOUT)
    launch.live = LiveSession(_initial_state(launch.plan, launch.store, ports), ports)


def restore_meta(launch: Launch) -> None:
    """A failed resume leaves the meta as it was."""
    if launch.live is None or launch.finalized or launch.plan.resumed is None:
        return
    launch.live.ports.meta_writer.put(launch.plan.resumed).get(timeout=LIFECYCLE_TIMEOUT)


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
        live.ports.process = live.ports.driver.start(launch.context, start_opts(plan))
    except AgentNotAvailableError as error:
        hint = f"; install it with `{plan.agent.install_hint}`" if plan.agent.install_hint else ""
        raise AgentNotAvailableError(f"{error}{hint}", agent_name=plan.agent.name) from error
    except CallerError:
        raise
    except Exception as error:
        restore = None if plan.resumed is None else replace(plan.resumed, updated_at=_now(live))
        failure = failure_of(error)
        live.ask(lambda ask: AgentStartFailed(ask, failure, restore)).get(
            timeout=3 * LIFECYCLE_TIMEOUT
        )
        launch.finalized = True
        raise


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
    live.ask(
        lambda ask: AgentStarted(
            ask,
            process.session_id,
            process.caps_snapshot(),
            process.pid,
            process.started_at,
            restored,
        )
    ).get(timeout=LIFECYCLE_TIMEOUT)
    live.ports.meta_writer.flush().get(timeout=LIFECYCLE_TIMEOUT)
    watch_exit(live, process)


def watch_exit(live: LiveSession, process: AgentProcess) -> None:
    """From here on the session hears of facts outside a turn, and of the end of its agent."""
    process.on_event = lambda events: live.tell(AgentEventsArrived("", events), Lane.EXEMPT)
    process.done.rawlink(lambda _: gevent.spawn(_exited, live, process))


def _exited(live: LiveSession, process: AgentProcess) -> None:
    error = process.wait()
    if error is None:
        live.tell(AgentExited(), Lane.EXEMPT)
        return
    stderr = error.stderr if isinstance(error, AgentExitedError) else process.stderr()
    failure = make_failure(FailureKind.PROCESS_EXIT, "agent exited", error)
    tail = stderr[-STDERR_IN_EVENT_BYTES_MAX:]
    live.tell(AgentExited(str(error), failure, tail), Lane.EXEMPT)


def _initial_state(plan: StartPlan, store: SessionStore, ports: SessionPorts) -> SessionState:
    return SessionState(
        meta=plan.meta,
        workspace=plan.workspace,
        id_seed=plan.id_seed,
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


def start_opts(plan: StartPlan) -> StartOpts:
    """What the driver is told (01 7.11)."""
    mode = plan.meta.effective_permissions or PermissionMode.APPROVE_READS
    return StartOpts(
        agent_name=plan.agent.name,
        command=plan.agent.command,
        cwd=plan.workspace,
        env=(
            *plan.agent.env,
            ("GREENROOM_SESSION_ID", plan.meta.id),
            ("GREENROOM_AGENT", plan.agent.name),
        ),
        permissions=PermissionMode(mode),
        preferred_model=plan.meta.model,
        resume_session_id=plan.meta.acp_session_id,
        session_id=plan.meta.id,
    )


def failure_of(error: Exception) -> SessionFailure:
    """The typed failure of a start (01 7.13)."""
    known = classified_failure(error)
    if known is not None:
        return known
    kind = failure_from_error(error, FailureKind.STARTUP)
    return make_failure(kind, "agent runtime startup failed", error)


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
