"""An agent whose every turn is made up by the seed, behind a driver that is late or fails."""

from __future__ import annotations

from collections.abc import Callable

from ....transport.acp.jsonrpc import RESOURCE_NOT_FOUND
from ....transport.agent.context import CallContext
from ....transport.agent.protocol import AgentProcess, PromptRequest, StartOpts
from ...errors import AgentError, AgentExitedError, LoadSessionFailedError, RequestError
from ...model.agent import Caps
from ...model.failure import FailureKind
from ..clock import VirtualClock
from ..driver import ScriptedDriver, ScriptedProcess, ScriptedTurn
from .faults import Fault, FaultDraw

__all__ = ["SimDriver"]

STEPS_MAX = 5
"""Things an agent does in one turn, at most."""


class SimDriver(ScriptedDriver):
    """Plays turns that the seed makes up.

    :param prompted: told of every prompt that reaches an agent, before anything else.
    """

    def __init__(
        self,
        clock: VirtualClock,
        faults: FaultDraw,
        prompted: Callable[[ScriptedProcess, PromptRequest], None],
    ) -> None:
        caps = Caps(supports_load_session=True, supports_steering=faults.draw() < 0.8)
        super().__init__(self._improvise, caps, clock.now)
        self._clock = clock
        self.faults = faults
        self._draw = faults.draw
        self._prompted = prompted
        self._permissions = 0

    def start(self, ctx: CallContext, opts: StartOpts) -> ScriptedProcess:
        """A new process, after a while; or none."""
        self._take_time()
        if opts.resume_session_id and self.faults.happens(Fault.LOST_SESSION):
            raise _lost(opts.resume_session_id)
        if self.faults.happens(Fault.START_FAILS):
            raise AgentError("the agent does not start")
        process = super().start(ctx, opts)
        if self.faults.happens(Fault.AGENT_CRASH):
            self._clock.call_later(self._draw() * 10, self._crash, process)
        elif self.faults.happens(Fault.AGENT_EXIT):
            self._clock.call_later(self._draw() * 10, process.end, None)
        return process

    def prompt(
        self, ctx: CallContext, process: AgentProcess, request: PromptRequest
    ) -> ScriptedTurn:
        """Begin a turn; or refuse it."""
        self._take_time()
        if self.faults.happens(Fault.PROMPT_FAILS):
            raise AgentError("the prompt was refused")
        turn = super().prompt(ctx, process, request)
        self._prompted(turn.process, request)
        return turn

    def cancel(self, ctx: CallContext, process: AgentProcess) -> None:
        """Deliver a cancel; or fail to."""
        self._take_time()
        if self.faults.happens(Fault.CANCEL_FAILS):
            raise AgentError("the cancel was not delivered")
        super().cancel(ctx, process)

    def steer(self, ctx: CallContext, process: AgentProcess, steer_id: str, text: str) -> str:
        """Hand over a steering text; or fail to."""
        self._take_time()
        if self.faults.happens(Fault.STEER_FAILS):
            if self._draw() < 0.5:
                return "not_running"
            raise AgentError("the steering text was not taken")
        return super().steer(ctx, process, steer_id, text)

    def stop(self, ctx: CallContext, process: AgentProcess) -> None:
        """End the process; or fail to."""
        self._take_time()
        if self.faults.happens(Fault.STOP_FAILS):
            raise AgentError("the agent did not stop")
        super().stop(ctx, process)

    def _take_time(self) -> None:
        drawn = self._draw()
        if drawn < 0.3:
            late = self.faults.happens(Fault.TIMER_JITTER)
            self._clock.sleep(drawn * (20.0 if late else 0.1))

    def _crash(self, process: ScriptedProcess) -> None:
        process.end(AgentExitedError("exit status 1", exit_status=1))

    def _improvise(self, turn: ScriptedTurn) -> None:
        for _ in range(int(self._draw() * STEPS_MAX)):
            if turn.cancelled.is_set() and not self.faults.happens(Fault.DEAF_CANCEL):
                return
            if self._go_wrong(turn):
                return
            self._do_something(turn)

    def _go_wrong(self, turn: ScriptedTurn) -> bool:
        """One of the ways a turn ends badly; whether it has."""
        faults = self.faults
        if faults.happens(Fault.AGENT_CRASH):
            turn.exit()
        elif faults.happens(Fault.AGENT_EXIT):
            turn.process.end(None)
        elif faults.happens(Fault.AGENT_FAILURE):
            kind = FailureKind.CANCELLATION if self._draw() < 0.3 else FailureKind.PROVIDER_AUTH
            turn.fail("the provider failed", kind)
        elif faults.happens(Fault.AGENT_HANG):
            turn.process.done.wait()
        else:
            return False
        return True

    def _do_something(self, turn: ScriptedTurn) -> None:
        drawn = self._draw()
        if drawn < 0.35:
            turn.say("a word ")
        elif drawn < 0.55:
            turn.use_tool("look")
        elif drawn < 0.65:
            self._permissions += 1
            turn.ask_permission("write", f"permission-{self._permissions}")
        elif not turn.cancelled.is_set():
            self._clock.sleep(drawn)


def _lost(session_id: str) -> LoadSessionFailedError:
    error = LoadSessionFailedError(f'the agent does not know session "{session_id}"')
    error.__cause__ = RequestError("session not found", code=RESOURCE_NOT_FOUND)
    return error
