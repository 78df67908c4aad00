"""What a session asks of its agent: each call in a greenlet of its own, answered by an input.

A turn has a context of its own, which nobody's leaving ends: it is cancelled by ``cancel_prompt``
at once, even while the driver is still taking the prompt (02 3, 11.1).
"""

from __future__ import annotations

import gevent

from ...transport.agent.context import CallContext
from ...transport.agent.protocol import (
    AgentProcess,
    DriverStream,
    HealthReporting,
    HealthState,
    PromptActivityReport,
    PromptRequest,
    ScopedInterrupter,
)
from ..core import effects as fx
from ..core import inputs
from ..core.activity import unhealthy_text
from ..core.turn import as_session_error
from ..core.work_inputs import AgentTurnOpened, AgentWorkChanged
from ..errors import PromptCanceledError, ScopedInterruptNotFoundError, SessionError
from ..model.activity import ProcessHealth
from ..model.agent import ApproveRequest
from ..model.runs import kept
from ..model.settings import LIFECYCLE_TIMEOUT
from ..runtime.mailbox import Lane
from .hook_runner import within
from .live import LiveSession
from .messages import Messages


class AgentCalls:
    """The calls of one session.

    :param live: the session; its mailbox gets what comes of them.
    """

    def __init__(self, live: LiveSession) -> None:
        self._live = live
        self._tell = live.tell
        self._ports = live.ports
        self._contexts: dict[str, CallContext] = {}

    def prompt(self, effect: fx.SendPrompt) -> None:
        """Give the driver a prompt and read its events until the stream closes."""
        gevent.spawn(self._pump, effect)

    def steer(self, effect: fx.SteerAgent) -> None:
        """Give the agent a staged text."""
        gevent.spawn(self._steer, effect)

    def cancel(self, effect: fx.CancelPrompt) -> None:
        """Cancel a turn: its context before the driver has the prompt, the agent's turn after."""
        if effect.before_start:
            self._cancel_context(effect.turn_id)
        else:
            gevent.spawn(self._cancel, effect)

    def stop(self, effect: fx.StopAgent) -> None:
        """Stop the agent process."""
        gevent.spawn(self._stop, effect.deadline_s)

    def request_stop(self, effect: fx.RequestStop) -> None:
        """Ask the agent to end its work, without stopping its process."""
        gevent.spawn(self._request_stop, effect.ask)

    def process(self) -> AgentProcess:
        """The agent process.

        :raises SessionError: there is none.
        """
        process = self._ports.process
        if process is None:
            raise SessionError(
                f'session "{self._ports.session_id}": agent process is not available',
                session_id=self._ports.session_id,
            )
        return process

    def unhealthy(self) -> str:
        """What the driver's monitor says about a sick process, blank when nothing (02 12.4)."""
        process: object = self._ports.process
        if not isinstance(process, HealthReporting):
            return ""
        return unhealthy_text(_process_health(process.health_state()), self._ports.redactor)

    def answer_permission(self, effect: fx.AnswerPermission) -> None:
        """Hand a decision to the driver, at once: exactly one answer of several wins."""
        request = ApproveRequest(effect.decision, effect.request_id, effect.turn_id)
        refusal: SessionError | None = None
        try:
            self.process().approve_permission(CallContext.after(None), request)
        except Exception as raised:
            refusal = as_session_error(raised, self._ports.session_id, "approve_permission")
        resolved = inputs.PermissionResolved(effect.ask, effect.request_id, refusal)
        self._tell(resolved, Lane.CONTROL)

    def _pump(self, effect: fx.SendPrompt) -> None:
        """One greenlet while a turn runs: a batch is read once the one before it is recorded."""
        turn_id = effect.turn_id
        context = self._contexts.setdefault(turn_id, CallContext.after(None))
        reports = _Reports(self, turn_id)
        try:
            context.check()
            request = PromptRequest(
                turn_id=turn_id,
                message=self._augmented(context, effect.message),
                meta=effect.meta,
                activity_reporter=reports.take,
                activity_heartbeat_interval=effect.heartbeat_s,
            )
            events = self._ports.driver.prompt(context, self.process(), request)
        except Exception as raised:
            error = as_session_error(raised, self._ports.session_id, "prompt")
            self._contexts.pop(turn_id, None)
            self._tell(inputs.PromptStartFailed(turn_id, error), Lane.CONTROL)
            return
        now_s = self._ports.clock.monotonic
        self._tell(inputs.PromptStarted(turn_id, now_s()), Lane.EXEMPT)
        reports.open()
        try:
            _hand_over(self._live, events)
        finally:
            reports.close()
            self._contexts.pop(turn_id, None)
            self._tell(inputs.AgentStreamClosed(turn_id, events.suspect), Lane.EXEMPT)

    def _augmented(self, context: CallContext, message: str) -> str:
        """What the agent is given: the host may add to it; it is never stored (02 A7)."""
        augment = self._ports.augment
        if augment is None:
            return message
        try:
            text = within(
                self._ports.hook_timeout, augment, self._live.handle, message, context=context
            )
            if not isinstance(text, str):
                raise TypeError(f"the augmenter gave back a {type(text).__name__}")
        except PromptCanceledError:
            raise
        except Exception as error:
            raise SessionError(
                f'session: augment prompt input: session "{self._ports.session_id}": {error}',
                session_id=self._ports.session_id,
                operation="prompt",
            ) from error
        return text if text.strip() else message

    def _cancel_context(self, turn_id: str) -> None:
        context = self._contexts.setdefault(turn_id, CallContext.after(None))
        context.cancel(
            PromptCanceledError(
                f'prompt: session "{self._ports.session_id}": canceled before the agent had it',
                session_id=self._ports.session_id,
                operation="prompt",
            )
        )

    def _cancel(self, effect: fx.CancelPrompt) -> None:
        """One cooperative cancel, then whatever works for the turn and is not the agent (11.1)."""
        error: SessionError | None = None
        driver, context = self._ports.driver, CallContext.after(None)
        process = self._ports.process
        if process is None:
            self._tell(inputs.CancelSettled(effect.turn_id, effect.ask), Lane.CONTROL)
            return
        try:
            driver.cancel(context, process)
            if isinstance(driver, ScopedInterrupter):
                driver.interrupt(context, self._ports.session_id, effect.turn_id)
        except ScopedInterruptNotFoundError:
            pass
        except Exception as raised:
            if not process.done.is_set():
                error = as_session_error(raised, self._ports.session_id, "cancel_prompt")
        self._tell(inputs.CancelSettled(effect.turn_id, effect.ask, error), Lane.CONTROL)

    def _steer(self, effect: fx.SteerAgent) -> None:
        error = ""
        try:
            outcome = self._ports.driver.steer(
                CallContext.after(None), self.process(), effect.entry_id, effect.text
            )
        except Exception as raised:
            outcome, error = "failed", str(raised)
        self._tell(inputs.SteerAnswered(effect.entry_id, outcome, error), Lane.CONTROL)

    def _stop(self, deadline_s: float | None) -> None:
        process = self.process()
        try:
            self._ports.driver.stop(CallContext.after(deadline_s), process)
        except Exception as raised:
            if not process.done.is_set():
                self._tell(inputs.AgentStopFailed(raised), Lane.CONTROL)

    def _request_stop(self, ask: int) -> None:
        error: SessionError | None = None
        try:
            self._ports.driver.cancel(CallContext.after(LIFECYCLE_TIMEOUT), self.process())
        except Exception as raised:
            error = as_session_error(raised, self._ports.session_id, "request cooperative stop")
        self._tell(inputs.StopDelivered(ask, error), Lane.CONTROL)


def hear_of_work(live: LiveSession, process: AgentProcess) -> None:
    """From here on the session hears of what the agent does by itself (07 4.6, 4.9)."""
    now_s = live.ports.clock.monotonic

    def turn_opened(stream: DriverStream) -> None:
        live.tell(AgentTurnOpened(stream.turn_id, now_s()), Lane.EXEMPT)
        gevent.spawn(_read_own, live, stream)

    process.on_turn = turn_opened
    process.on_work = lambda work: live.tell(
        AgentWorkChanged(work.state, work.background, now_s()), Lane.EXEMPT
    )


def _read_own(live: LiveSession, stream: DriverStream) -> None:
    try:
        _hand_over(live, stream)
    finally:
        live.tell(inputs.AgentStreamClosed(stream.turn_id, stream.suspect), Lane.EXEMPT)


def _hand_over(live: LiveSession, stream: DriverStream) -> None:
    """Read a stream to its end: each batch once the one before it is recorded."""
    turn_id, now_s = stream.turn_id, live.ports.clock.monotonic
    messages = Messages(
        live,
        turn_id,
        lambda batch: live.hand_over(inputs.AgentEventsArrived(turn_id, kept(batch), now_s())),
    )
    bundles, ports = live.ports.bundles, live.ports
    while batch := stream.take():
        messages.take(bundles.attach_to_events(batch, live.state.meta, ports.process))
    messages.end()


class _Reports:
    """The driver's signs of life of one turn, from the moment the session knows it started.

    The driver's first report comes inside ``prompt``, before anybody watches the turn: the last of
    those is told when the watch began. After the turn reports are ignored (02 17).
    """

    def __init__(self, calls: AgentCalls, turn_id: str) -> None:
        self._calls = calls
        self._turn_id = turn_id
        self._held: PromptActivityReport | None = None
        self._open = False
        self._closed = False

    def take(self, report: PromptActivityReport) -> None:
        """A report, from any thread."""
        if self._open:
            self._tell(report)
        elif not self._closed:
            self._held = report

    def open(self) -> None:
        """The session watches the turn."""
        self._open = True
        if self._held is not None:
            self._tell(self._held)

    def close(self) -> None:
        """The turn is over."""
        self._open, self._closed = False, True

    def _tell(self, report: PromptActivityReport) -> None:
        calls = self._calls
        told = inputs.ActivityReported(
            self._turn_id,
            report.kind,
            report.detail,
            calls._ports.clock.monotonic(),
            calls.unhealthy(),
        )
        calls._tell(told, Lane.EXEMPT)


def _process_health(state: HealthState) -> ProcessHealth:
    return ProcessHealth(
        healthy=state.healthy,
        last_checked_at=state.last_checked_at,
        consecutive_failures=state.consecutive_failures,
        last_error=state.last_error,
        message=state.message,
        details="" if state.details is None else str(state.details),
    )
