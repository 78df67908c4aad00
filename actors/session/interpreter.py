"""Runs the effects of a session's steps; the only place that orders append, publish, deliver.

Nothing here waits: what needs the world runs in a greenlet of its own and comes back as an input.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import gevent
import msgspec

from ...storage.stored_rows import StoredRows
from ...transport.agent.context import CallContext
from ..core import effects as fx
from ..core import host_inputs, inputs
from ..core.busy_input import GENERATION_KEY, GENERATION_TABLE, QUEUE_TABLE
from ..core.hooking import session_payload
from ..core.redaction import redact_events, redact_meta
from ..core.turn import as_session_error
from ..core.watching import SUPERVISION_TIMER
from ..errors import SessionError
from ..model.hooks import HookEvent, HookPayload
from ..model.records import HookRunRecord
from ..model.runs import heads_of
from ..model.settings import LIFECYCLE_TIMEOUT
from ..model.turn import SendPromptResult
from ..runtime.mailbox import Lane
from .agent_calls import AgentCalls
from .agent_start import tell_agent
from .finalizer import finalize
from .hook_runner import within
from .live import LiveSession
from .named_timers import NamedTimers
from .outbox import Batch, Item, Outbox
from .record_hooks import RecordHooks
from .recorder import Recorder
from .stream import PromptStream

ORDERED = frozenset(
    {
        fx.Commit,
        fx.Reply,
        fx.Refuse,
        fx.SendPrompt,
        fx.SteerAgent,
        fx.ObserveHook,
        fx.NotifyTurnEnd,
        fx.DropStream,
        fx.CloseStream,
        fx.Finalize,
        fx.Retire,
    }
)
"""Effects that wait for the commits before them (``core/effects.py``)."""


class Interpreter:
    """The effects of one session.

    :param live: the session; its mailbox gets what comes of the effects.
    """

    def __init__(self, live: LiveSession) -> None:
        self._live = live
        self._asks = live.asks
        self._tell = live.tell
        self._ports = live.ports
        self._outbox = Outbox(self._release)
        self._recorder = Recorder(live)
        live.drained = self._outbox.drained
        live.record_hook_run = self._record_hook_run
        self._streams: dict[str, PromptStream] = {}
        self._timers = NamedTimers(live.ports.timers, self._fired)
        self._agent = AgentCalls(live)
        self._record_hooks = RecordHooks(live)
        self._rejecting: SessionError | None = None
        """The failed commit that the session has not been told of yet."""

    def run(self, effects: Sequence[fx.Effect]) -> None:
        """Start the effects of one step."""
        ordered = [effect for effect in effects if type(effect) in ORDERED]
        if ordered:
            batch = self._outbox.add(ordered)
            commits = [item for item in batch.items if type(item.effect) is fx.Commit]
            batch.open = len(commits)
            for item in commits:
                self._submit(batch, item)
            self._outbox.flush()
        for effect in effects:
            if type(effect) not in ORDERED:
                self._start(effect)

    def abandon(self, error: BaseException) -> None:
        """The actor crashed: answer everybody, take the agent down, close the store."""
        self._asks.refuse_all(error)
        for stream in self._streams.values():
            stream.end()
        self._streams.clear()
        self._timers.disarm_all()
        gevent.spawn(self._tear_down)

    def _submit(self, batch: Batch, item: Item) -> None:
        commit = item.effect
        assert isinstance(commit, fx.Commit)
        if self._rejecting is not None:
            self._outbox.settle(batch, self._rejecting)
            return
        commit = replace(commit, events=redact_events(commit.events, self._ports.redactor))
        item.effect = commit
        self._record_hooks.before(commit.events)
        try:
            item.rows = self._ports.store.submit(
                commit.events,
                agent_name=self._ports.agent_name,
                state_ops=self._recorder.state_ops(commit),
                durable=commit.durable,
                done=partial(self._committed, batch),
            )
        except SessionError as error:
            self._committed(batch, error)

    def _committed(self, batch: Batch, error: Exception | None) -> None:
        if error is None:
            self._outbox.settle(batch, None)
            return
        failed = as_session_error(error, self._ports.session_id, "append")
        self._recorder.take_back()
        if self._rejecting is not None:
            self._outbox.settle(batch, failed)
            return
        self._rejecting = failed
        documents = tuple(self._ports.store.state_documents(QUEUE_TABLE).values())
        generation = self._ports.store.state_document(GENERATION_TABLE, GENERATION_KEY) or {}
        number = int(generation.get("input_generation", 0))
        self._tell(inputs.CommitFailed(failed, documents, number), Lane.CONTROL)
        self._outbox.settle(batch, failed)

    def _record_hook_run(self, run: HookRunRecord) -> None:
        try:
            self._ports.store.submit(
                (),
                agent_name=self._ports.agent_name,
                state_ops=self._recorder.hook_run(run),
                durable=False,
                done=self._hook_run_recorded,
            )
        except SessionError as error:
            self._hook_run_recorded(error)

    def _hook_run_recorded(self, error: Exception | None) -> None:
        if error is not None:
            self._ports.logger.warning(
                'session "%s": a hook run was not recorded: %s', self._ports.session_id, error
            )

    def _release(self, item: Item, error: SessionError | None) -> None:
        match effect := item.effect:
            case fx.Commit():
                self._publish(effect, item.rows, error)
            case fx.Reply(ask, value, turn_id):
                self._reply(ask, value, turn_id, error)
            case fx.Refuse(ask, refusal):
                self._asks.refuse(ask, refusal)
            case fx.SendPrompt(turn_id):
                if error is not None:
                    self._tell(inputs.PromptStartFailed(turn_id, error), Lane.CONTROL)
                else:
                    self._agent.prompt(effect)
            case fx.SteerAgent(entry_id):
                if error is not None:
                    answer = inputs.SteerAnswered(entry_id, "failed", str(error))
                    self._tell(answer, Lane.CONTROL)
                else:
                    self._agent.steer(effect)
            case fx.ObserveHook(key, payload):
                gevent.spawn(self._dispatch, key, payload)
            case fx.NotifyTurnEnd(turn_id):
                gevent.spawn(self._notify_turn_end, turn_id)
            case fx.DropStream(turn_id, event):
                self._stream(turn_id).push((event,), 0)
                self._streams.pop(turn_id).end()
            case fx.CloseStream(turn_id):
                stream = self._streams.pop(turn_id, None)
                if stream is not None:
                    stream.end()
            case fx.Finalize():
                gevent.spawn(self._finalize, effect, error)
            case fx.Retire():
                self._retire()
            case _:
                raise AssertionError(f"{type(effect).__name__} is not an ordered effect")

    def _start(self, effect: fx.Effect) -> None:
        match effect:
            case fx.CancelPrompt():
                self._agent.cancel(effect)
            case fx.StopAgent():
                self._agent.stop(effect)
            case fx.RequestStop():
                self._agent.request_stop(effect)
            case fx.DispatchHook(key, payload):
                gevent.spawn(self._dispatch, key, payload)
            case fx.AnswerPermission():
                self._agent.answer_permission(effect)
            case fx.WriteMeta(meta):
                written = self._ports.meta_writer.put(redact_meta(meta, self._ports.redactor))
                written.add_done_callback(self._meta_written)
            case fx.ArmTimer(name, seconds):
                self._timers.arm(name, seconds)
            case fx.DisarmTimer(name):
                self._timers.disarm(name)
            case fx.AcceptCommits():
                self._rejecting = None
            case fx.RestartAgent():
                gevent.spawn(self._ports.restart, self._live)
            case fx.Report(level, text):
                self._ports.logger.log(
                    logging.getLevelNamesMapping()[level.upper()],
                    'session "%s": %s',
                    self._ports.session_id,
                    text,
                )
            case _:
                raise AssertionError(f"{type(effect).__name__} is not an immediate effect")

    def _publish(self, commit: fx.Commit, rows: StoredRows, error: SessionError | None) -> None:
        """A stored row is published and delivered; a rejected one is only delivered, marked so."""
        if error is None and rows:
            self._ports.publish(self._ports.session_id, rows.rows)
            self._record_hooks.after(rows)
        if not commit.events:
            return
        last, delivered = rows.last, commit.events
        if error is not None or not rows:
            last = 0
            delivered = tuple(
                msgspec.structs.replace(event, persisted=False) for event in delivered
            )
        self._ports.notices.stored(self._live.handle, self._ports.session_id, delivered)
        if not commit.deliver:
            return
        stream = self._streams.get(next(heads_of(delivered)).turn_id)
        if stream is not None:
            stream.push(delivered, last)

    def _reply(self, ask: int, value: Any, turn_id: str, error: SessionError | None) -> None:
        if error is not None:
            self._asks.refuse(ask, error)
            return
        if turn_id:
            stream = self._stream(turn_id)
            value = replace(value, events=stream) if isinstance(value, SendPromptResult) else stream
        self._asks.reply(ask, value)

    def _stream(self, turn_id: str) -> PromptStream:
        """The stream of a turn, opened when somebody is given it."""
        stream = self._streams.get(turn_id)
        if stream is None:
            stream = PromptStream(turn_id, self._ports.session_id, self._ports.stream_size)
            self._streams[turn_id] = stream
        return stream

    def _dispatch(self, key: str, payload: HookPayload) -> None:
        error: SessionError | None = None
        try:
            payload = self._ports.hooks.dispatch(payload)
        except SessionError as raised:
            error = raised
        self._tell(host_inputs.HookDispatched(key, payload, error), Lane.CONTROL)

    def _notify_turn_end(self, turn_id: str) -> None:
        notify = self._ports.turn_end()
        try:
            if notify is not None:
                within(self._ports.hook_timeout, notify, self._ports.session_id)
        except Exception:
            self._ports.logger.exception(
                'session "%s": the turn end notifier failed', self._ports.session_id
            )
        self._tell(host_inputs.TurnEndNotified(turn_id), Lane.CONTROL)

    def _meta_written(self, written: Any) -> None:
        try:
            written.get()
        except Exception:
            self._ports.logger.exception(
                'session "%s": meta.json was not written', self._ports.session_id
            )

    def _fired(self, name: str) -> None:
        unhealthy = self._agent.unhealthy() if name == SUPERVISION_TIMER else ""
        fired = inputs.TimerFired(name, self._ports.clock.monotonic(), unhealthy)
        self._tell(fired, Lane.CONTROL)

    def _finalize(self, effect: fx.Finalize, error: SessionError | None) -> None:
        process = self._ports.process
        if effect.crash:
            tell_agent(self._live, HookEvent.AGENT_CRASHED, process, effect.crash)
        tell_agent(self._live, HookEvent.AGENT_STOPPED, process, effect.crash)
        meta = redact_meta(effect.meta, self._ports.redactor)
        errors = finalize(self._ports, meta, ledger=effect.ledger)
        if error is not None:
            errors.insert(0, error)
        self._timers.disarm_all()
        self._tell(inputs.Finalized(tuple(errors)), Lane.CONTROL)

    def _retire(self) -> None:
        """Nobody finds the session any more; once its last hook has answered it is over."""
        self._live.leave()
        if not self._ports.hooks.hears(HookEvent.SESSION_POST_STOP):
            self._live.retire()
            return
        gevent.spawn(self._post_stop)

    def _post_stop(self) -> None:
        state = self._live.state
        now = self._ports.clock.now()
        self._ports.hooks.dispatch(
            session_payload(HookEvent.SESSION_POST_STOP, state.meta, state.workspace, now)
        )
        self._live.retire()

    def _tear_down(self) -> None:
        process = self._ports.process
        if process is not None:
            try:
                self._ports.driver.stop(CallContext.after(2 * LIFECYCLE_TIMEOUT), process)
            except Exception:
                self._ports.logger.exception(
                    'session "%s": its agent did not stop', self._ports.session_id
                )
        for error in finalize(self._ports, self._live.state.meta):
            self._ports.logger.error('session "%s": %s', self._ports.session_id, error)
        self._live.retire()
