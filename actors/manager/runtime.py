"""Everything a manager owns, in the hub: home, worker, bus, driver, registry (01 5).

Opened and closed as a whole; what the verbs share is here, what they do is in their groups.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import gevent
import zmq

from ...storage.health_rows import JournalHealthStore
from ...storage.session_store import SessionStore
from ...transport.agent.driver import ACPDriver
from ...transport.agent.protocol import AgentDriver
from ...transport.agent.tool_processes import ToolProcesses
from ...transport.bus.control_call import Call, Verb
from ...transport.bus.control_server import ControlServer
from ...transport.bus.error_table import ErrorTable
from ...transport.bus.roles import Role
from ..core.host_inputs import TurnEndNotifierSet
from ..core.inputs import StopRequested
from ..core.recovery import classify_inactive_meta_for_recovery
from ..core.redaction import Redactor
from ..errors import SessionNotActiveError, SessionNotFoundError, SessionValueError
from ..model.hooks import HookSet
from ..model.ids import normalize_stored_session_id
from ..model.session import SessionMeta, StopCause
from ..runtime.future import GreenFuture
from ..runtime.hub import Hub
from ..session.agent_start import StartPlan
from ..session.crash_bundles import CRASH_BUNDLE_DIRECTORY, CrashBundles
from ..session.hook_runner import HookRunner
from ..session.live import LiveSession
from ..session.meta_writer import MetaWriter
from ..session.notices import Notices
from ..session.ports import SessionPorts, TurnEndNotifier
from ..session.provider_secrets import EnvironmentSecrets
from ..session.restart import restart_agent
from ..session.waits import answer
from .audit import Audit
from .health_keeper import HealthKeeper
from .ledgers import Ledgers
from .listening import Listening
from .options import ManagerOptions
from .process_records import (
    PROCESSES_FILE,
    JournalProcessStore,
    end_processes,
    left_behind,
)
from .registry import Registry
from .world import World

META_FILE = "meta.json"
CLOSE_TIMEOUT = 10.0
"""Seconds ``close()`` gives its sessions by default; the agents' escalation fits in."""

T = TypeVar("T")


class Runtime:
    """One open home. Every method runs in the hub.

    :param hub: where everything lives.
    :param world: what it is built on; ``None`` is the real one.
    :raises HomeInUseError: another runtime owns the home.
    """

    def __init__(self, options: ManagerOptions, hub: Hub, world: World | None = None) -> None:
        self.options = options
        self.world = world = world or World()
        self.hub = hub
        self.logger = options.logger
        self.clock = world.clock(hub)
        self.registry = Registry()
        self.redactor = Redactor()
        self.closing = False
        self.servers: list[ControlServer] = []
        self.listening: Listening | None = None
        self.turn_end_notifier: TurnEndNotifier | None = None
        self.handle_of: Callable[[LiveSession], Any] = lambda live: live
        with contextlib.ExitStack() as undo:
            self.home = world.home(options, hub)
            undo.callback(self.home.close)
            self.worker = world.worker()
            undo.callback(self.worker.close, CLOSE_TIMEOUT)
            self.workspaces = world.workspaces(options)
            undo.callback(self.workspaces.close)
            self.catalog = world.catalog(options, self.workspaces)
            self.ledgers = self._ledgers()
            self.health = self._health(undo)
            self.publisher = world.publisher(options, self.home)
            self.publisher.open()
            undo.callback(self.publisher.close)
            self.driver: AgentDriver = options.driver or self._own_driver(undo)
            self.bundles = CrashBundles(
                options.home / CRASH_BUNDLE_DIRECTORY,
                world.documents,
                self.off_hub,
                self.redactor,
                self.clock.now,
                self.logger,
            )
            self.secrets = options.provider_secret_resolver or EnvironmentSecrets()
            self._undo = undo.pop_all()

    def _health(self, undo: contextlib.ExitStack) -> HealthKeeper:
        store = self.options.session_health_store
        if store is None and self.catalog is not None and self.catalog.storage is not None:
            store = JournalHealthStore(self.catalog.storage)
        keeper = HealthKeeper(store, self.worker, self.clock, self.logger)
        if store is not None:
            undo.callback(lambda: answer(keeper.flush(), CLOSE_TIMEOUT, "close"))
        return keeper

    def _ledgers(self) -> Ledgers | None:
        materializer, sessions = self.options.ledger_materializer, self.options.home / "sessions"
        if materializer is None:
            return None
        return Ledgers(materializer, sessions, self.worker, self.logger)

    def _own_driver(self, undo: contextlib.ExitStack) -> ACPDriver:
        """A driver whose processes are known to the next runtime of this home too."""
        store = JournalProcessStore(self.options.home / PROCESSES_FILE)
        undo.callback(store.close)
        processes = ToolProcesses(store)
        left = left_behind(processes, store, self.logger)
        if left:
            ending = gevent.spawn(end_processes, processes, left, self.logger)
            undo.callback(ending.kill)
        return ACPDriver(process_registry=processes)

    def serve(
        self,
        verbs: Mapping[str, Verb],
        errors: ErrorTable,
        recall: Callable[[Call], tuple[Any] | None],
    ) -> None:
        """Take calls of other processes, until the runtime is closed."""
        audit = Audit(self.options.home, verbs, self.clock.now, self.logger)
        self._undo.callback(audit.close)

        def make_server(role_of: Callable[[str], Role] | None = None) -> ControlServer:
            server = ControlServer(
                verbs,
                errors=errors,
                role_of=role_of,
                recall=recall,
                audit=audit,
                logger=self.logger,
            )
            self.servers.append(server)
            return server

        context: zmq.Context[Any] = zmq.Context()
        self._undo.callback(context.term)
        self.endpoints = self.publisher.endpoints.with_commands()
        server = make_server()
        server.open(context, self.endpoints.commands)
        self._undo.callback(server.close)
        if self.options.listen:
            self.listening = Listening(
                self.options.home, self.options.listen, self.publisher, make_server, self.logger
            )
            self._undo.callback(self.listening.close)
        self.endpoints.write(self.options.home)

    def close(self, timeout: float | None = CLOSE_TIMEOUT) -> None:
        """Stop every session at once, then close what was opened, newest first.

        :raises ExceptionGroup: sessions that did not stop cleanly; the home is closed all the same.
        """
        if self.closing:
            return
        self.closing = True
        errors: list[Exception] = []
        for start in self.registry.starts():
            with contextlib.suppress(TimeoutError):
                answer(start, timeout, "close")
        stops = [(live, self._shut_down(live, timeout)) for live in self.registry.all()]
        for live, stop in stops:
            try:
                answer(stop, timeout, "close")
            except SessionNotActiveError:
                continue
            except Exception as error:
                error.add_note(f'while stopping session "{live.id}"')
                errors.append(error)
        self._undo.close()
        if errors:
            raise ExceptionGroup("close: sessions did not stop cleanly", errors)

    @staticmethod
    def _shut_down(live: LiveSession, timeout: float | None) -> GreenFuture[Any]:
        return live.ask(
            lambda ask: StopRequested(
                ask, StopCause.SHUTDOWN, "daemon shutdown", timeout, deniable=False
            )
        )

    def off_hub(self, work: Callable[..., T], *args: Any) -> T:
        """Do blocking file work in the worker thread; other greenlets go on meanwhile."""
        result: T = self.worker.submit(work, *args).get()
        return result

    def ports_for(self, plan: StartPlan, store: SessionStore) -> SessionPorts:
        """The world of one session."""
        path = plan.directory / META_FILE
        return SessionPorts(
            session_id=plan.meta.id,
            agent_name=plan.meta.agent_name,
            store=store,
            meta_writer=MetaWriter(path, self.worker, self.hub.post, self.world.documents),
            driver=self.driver,
            clock=self.clock,
            timers=self.clock,
            publish=self.publisher.publish,
            logger=self.logger,
            stream_size=self.options.prompt_buffer_size,
            redactor=self.redactor,
            notices=Notices(self.options.notifier, self.logger),
            restart=partial(restart_agent, plan),
            bundles=self.bundles,
            secrets=self.secrets,
            hooks=self.hook_runner(),
            hook_timeout=self.options.hook_timeout,
            augment=self.options.prompt_input_augmenter,
            answerer=self.options.elicitation_answerer,
            turn_end=lambda: self.turn_end_notifier,
            ledger=None if self.ledgers is None else self.ledgers.make,
            changed=self.health.note,
            observer=self.world.observer,
        )

    def set_turn_end_notifier(self, notifier: TurnEndNotifier | None) -> None:
        """Tell the host of turn ends from now on, or no more."""
        if notifier is not None and not callable(notifier):
            raise SessionValueError("set_turn_end_notifier: the notifier must be callable")
        self.turn_end_notifier = notifier
        for live in self.registry.all():
            live.tell(TurnEndNotifierSet(notifier is not None))

    def hook_runner(self) -> HookRunner:
        """The host's hooks, for one session or for what comes before one."""
        options = self.options
        return HookRunner(options.hooks or HookSet(), options.hook_timeout, self.logger)

    def live(self, session_id: str, operation: str) -> LiveSession:
        """The live session of an id.

        :raises SessionValueError: blank.
        :raises SessionNotActiveError: known, but nobody runs it.
        :raises SessionNotFoundError: unknown.
        """
        checked = normalize_stored_session_id(session_id, operation)
        found = self.registry.get(checked)
        if found is not None:
            return found
        meta = self.read_meta(checked, operation)
        raise SessionNotActiveError(
            f'{operation}: session "{checked}" is not active ({meta.state}); resume it first',
            session_id=checked,
            operation=operation,
            state=meta.state,
        )

    def read_meta(self, session_id: str, operation: str) -> SessionMeta:
        """The meta of a session; one that nobody runs is reclassified and repaired (01 15.1, 16).

        :raises SessionNotFoundError: there is no such session.
        """
        path = self.options.home / "sessions" / session_id / META_FILE
        if not (self.registry.get(session_id) or self.registry.pending(session_id)):
            # In the hub: no clear can begin meanwhile.
            self.home.stored.finish_clear(session_id)
        try:
            meta: SessionMeta = self.off_hub(self.world.documents.read_meta, path)
        except SessionNotFoundError as error:
            raise SessionNotFoundError(
                f'{operation}: session "{session_id}" not found; `greenroom ls` lists them',
                session_id=session_id,
                operation=operation,
            ) from error
        if self.registry.get(session_id) or self.registry.pending(session_id):
            return meta
        pid = meta.liveness.subprocess_pid if meta.liveness else 0
        now = self.clock.now()
        recovered, changed = classify_inactive_meta_for_recovery(
            now, meta, process_alive=self.world.process_alive(pid)
        )
        if changed:
            self.logger.info(
                'session.resume.crash_classified session_id="%s" reason=%s',
                session_id,
                recovered.stop_reason,
            )
            self.off_hub(self.world.documents.write_meta, path, recovered)
        return recovered
