"""``SessionManager``: sessions for callers in any thread, in greenlets, and in asyncio."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Unpack

from ...transport.bus.endpoints import Endpoints
from ..runtime.hub import Hub
from ..session.live import LiveSession
from ..session.ports import TurnEndNotifier
from .daemon import error_table, remote_verbs
from .handle import Session
from .options import ManagerKeywords, ManagerOptions, default_home
from .recall import Recall
from .runtime import CLOSE_TIMEOUT, Runtime
from .surfaces import Verbs, awaitable, awaitable_session, blocking, blocking_session


class SessionManager:
    """Runs sessions in one home.

    :param home: directory of everything stored; absent: ``$GREENROOM_HOME``, else the platform's
        directory for a user's data. One runtime per home.
    :param options: the keywords of :class:`~greenroom.actors.manager.options.ManagerOptions`.
    :raises HomeInUseError: another runtime owns the home.
    :raises SessionValueError: an option that is not allowed.

    Every method may be called from any thread and from any greenlet; :attr:`aio` has the same for
    asyncio. As a context manager it closes itself.
    """

    def __init__(self, home: str | Path | None = None, **options: Unpack[ManagerKeywords]) -> None:
        place = default_home() if home is None else Path(home).expanduser().absolute()
        checked = ManagerOptions(home=place, **options)
        self._owns_hub = checked.hub == "own"
        self._hub = Hub.start() if self._owns_hub else Hub.current()
        try:
            self._runtime: Runtime = self._hub.call(Runtime, checked, self._hub)
        except BaseException:
            if self._owns_hub:
                self._hub.close(CLOSE_TIMEOUT)
            raise
        self._runtime.handle_of = self._handle
        self._verbs = Verbs(self._runtime)
        table = remote_verbs(partial(Verbs, self._runtime))
        try:
            self._hub.call(self._runtime.serve, table, error_table(), Recall(self._runtime))
        except BaseException:
            self._hub.call(self._runtime.close, CLOSE_TIMEOUT)
            if self._owns_hub:
                self._hub.close(CLOSE_TIMEOUT)
            raise
        self._closed = False
        self.home = place
        self.endpoints: Endpoints = self._runtime.endpoints
        self.remote_endpoints: Endpoints | None = None
        """Where other machines reach it, with ``listen``."""
        if self._runtime.listening is not None:
            self.remote_endpoints = self._runtime.listening.endpoints
        self.aio = AsyncSessionManager(self)

    create = blocking_session(Verbs.create)
    resume = blocking_session(Verbs.resume)
    clear_conversation = blocking_session(Verbs.clear_conversation)
    stop = blocking(Verbs.stop)
    stop_with_cause = blocking(Verbs.stop_with_cause)
    request_stop_with_cause = blocking(Verbs.request_stop_with_cause)
    delete = blocking(Verbs.delete)
    repair_session = blocking(Verbs.repair_session)
    wait_for_finalizations = blocking(Verbs.wait_for_finalizations)
    wait_for_prompt_drains = blocking(Verbs.wait_for_prompt_drains)
    prompt = blocking(Verbs.prompt)
    prompt_with_opts = blocking(Verbs.prompt_with_opts)
    prompt_network = blocking(Verbs.prompt_network)
    prompt_synthetic = blocking(Verbs.prompt_synthetic)
    send_prompt = blocking(Verbs.send_prompt)
    steer_prompt = blocking(Verbs.steer_prompt)
    interrupt_prompt = blocking(Verbs.interrupt_prompt)
    cancel_prompt = blocking(Verbs.cancel_prompt)
    cancel_queued_prompt = blocking(Verbs.cancel_queued_prompt)
    approve_permission = blocking(Verbs.approve_permission)
    request_permission = blocking(Verbs.request_permission)
    is_prompting = blocking(Verbs.is_prompting)
    input_queue_summary = blocking(Verbs.input_queue_summary)
    list = blocking(Verbs.list)
    list_all = blocking(Verbs.list_all)
    status = blocking(Verbs.status)
    events = blocking(Verbs.events)
    history = blocking(Verbs.history)
    usage = blocking(Verbs.usage)
    permission_log = blocking(Verbs.permission_log)
    hook_runs = blocking(Verbs.hook_runs)
    crash_bundle = blocking(Verbs.crash_bundle)
    home_status = blocking(Verbs.home_status)
    get_session_health = blocking(Verbs.get_session_health)
    list_session_health = blocking(Verbs.list_session_health)
    touch_session_presence = blocking(Verbs.touch_session_presence)
    recover_session_health = blocking(Verbs.recover_session_health)
    metrics = blocking(Verbs.metrics)
    transcript = blocking(Verbs.transcript)

    def get(self, session_id: str) -> Session | None:
        """The handle of a live session, ``None`` when there is none; never raises."""
        live = self._verbs.get(session_id)
        return None if live is None else self._handle(live)

    def set_turn_end_notifier(self, notifier: TurnEndNotifier | None) -> None:
        """Install, replace or take away the host's notifier of turn ends (02 6).

        :param notifier: called in the hub with the id of a session whose turn has ended, before
            whatever waits there starts; it may prompt that session.
        """
        self._hub.call(self._runtime.set_turn_end_notifier, notifier)

    def close(self, timeout: float | None = CLOSE_TIMEOUT) -> None:
        """Stop every session and release the home; calling it again does nothing.

        :param timeout: seconds for each session's stop.
        :raises ExceptionGroup: sessions that did not stop cleanly; the home is released all the
            same.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._hub.call(self._runtime.close, timeout)
        finally:
            if self._owns_hub:
                self._hub.close(CLOSE_TIMEOUT)

    def _handle(self, live: LiveSession) -> Session:
        return Session(self, live)

    def __enter__(self) -> SessionManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncSessionManager:
    """The verbs of a manager for asyncio: same names, awaitable; streams are async iterators."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager

    create = awaitable_session(Verbs.create)
    resume = awaitable_session(Verbs.resume)
    clear_conversation = awaitable_session(Verbs.clear_conversation)
    stop = awaitable(Verbs.stop)
    stop_with_cause = awaitable(Verbs.stop_with_cause)
    request_stop_with_cause = awaitable(Verbs.request_stop_with_cause)
    delete = awaitable(Verbs.delete)
    repair_session = awaitable(Verbs.repair_session)
    wait_for_finalizations = awaitable(Verbs.wait_for_finalizations)
    wait_for_prompt_drains = awaitable(Verbs.wait_for_prompt_drains)
    prompt = awaitable(Verbs.prompt)
    prompt_with_opts = awaitable(Verbs.prompt_with_opts)
    prompt_network = awaitable(Verbs.prompt_network)
    prompt_synthetic = awaitable(Verbs.prompt_synthetic)
    send_prompt = awaitable(Verbs.send_prompt)
    steer_prompt = awaitable(Verbs.steer_prompt)
    interrupt_prompt = awaitable(Verbs.interrupt_prompt)
    cancel_prompt = awaitable(Verbs.cancel_prompt)
    cancel_queued_prompt = awaitable(Verbs.cancel_queued_prompt)
    approve_permission = awaitable(Verbs.approve_permission)
    request_permission = awaitable(Verbs.request_permission)
    is_prompting = awaitable(Verbs.is_prompting)
    input_queue_summary = awaitable(Verbs.input_queue_summary)
    list = awaitable(Verbs.list)
    list_all = awaitable(Verbs.list_all)
    status = awaitable(Verbs.status)
    events = awaitable(Verbs.events)
    history = awaitable(Verbs.history)
    usage = awaitable(Verbs.usage)
    permission_log = awaitable(Verbs.permission_log)
    hook_runs = awaitable(Verbs.hook_runs)
    crash_bundle = awaitable(Verbs.crash_bundle)
    home_status = awaitable(Verbs.home_status)
    get_session_health = awaitable(Verbs.get_session_health)
    list_session_health = awaitable(Verbs.list_session_health)
    touch_session_presence = awaitable(Verbs.touch_session_presence)
    recover_session_health = awaitable(Verbs.recover_session_health)
    metrics = awaitable(Verbs.metrics)
    transcript = awaitable(Verbs.transcript)

    async def get(self, session_id: str) -> Session | None:
        """The handle of a live session, ``None`` when there is none; never raises."""
        return self._manager.get(session_id)

    async def set_turn_end_notifier(self, notifier: TurnEndNotifier | None) -> None:
        """:meth:`SessionManager.set_turn_end_notifier`."""
        self._manager.set_turn_end_notifier(notifier)

    async def close(self, timeout: float | None = CLOSE_TIMEOUT) -> None:
        """:meth:`SessionManager.close` without holding up the event loop."""
        await asyncio.to_thread(self._manager.close, timeout)
