"""What can go wrong in a simulation, and how likely each of it is in one seed.

Each seed enables some kinds and leaves the others out, so that rare combinations are met as often
as common ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CHANCES", "FAULT_TEXTS", "Fault", "FaultDraw"]


class Fault(StrEnum):
    """A kind of fault."""

    AGENT_CRASH = "agent-crash"
    AGENT_EXIT = "agent-exit"
    AGENT_HANG = "agent-hang"
    AGENT_FAILURE = "agent-failure"
    DEAF_CANCEL = "deaf-cancel"
    START_FAILS = "start-fails"
    PROMPT_FAILS = "prompt-fails"
    CANCEL_FAILS = "cancel-fails"
    STEER_FAILS = "steer-fails"
    STOP_FAILS = "stop-fails"
    LOST_SESSION = "lost-session"
    SLOW_STORE = "slow-store"
    FAILED_WRITE = "failed-write"
    FAILED_SYNC = "failed-sync"
    TIMER_JITTER = "timer-jitter"
    POWER_LOSS = "power-loss"


FAULT_TEXTS = {
    Fault.AGENT_CRASH: "the agent process dies in the middle of a turn, or idle",
    Fault.AGENT_EXIT: "the agent process leaves cleanly, nobody asked it to",
    Fault.AGENT_HANG: "the answer of a turn is lost: the agent says nothing any more",
    Fault.AGENT_FAILURE: "a turn ends with an error of the provider",
    Fault.DEAF_CANCEL: "the agent goes on although its turn is cancelled",
    Fault.START_FAILS: "the agent does not start",
    Fault.PROMPT_FAILS: "the driver refuses a prompt",
    Fault.CANCEL_FAILS: "the driver can not deliver a cancel",
    Fault.STEER_FAILS: "steering fails, or finds no running turn",
    Fault.STOP_FAILS: "the driver's stop raises and the agent lives on",
    Fault.LOST_SESSION: "the agent has forgotten the session that is resumed",
    Fault.SLOW_STORE: "writes and syncs of the disk take up to a second",
    Fault.FAILED_WRITE: "a write of the commit log finds no space",
    Fault.FAILED_SYNC: "a sync of the commit log fails: the home is read-only from then on",
    Fault.TIMER_JITTER: "answers of the driver and of threads come up to seconds late",
    Fault.POWER_LOSS: "the power goes; the home is opened again on what is left of the disk",
}

CHANCES = {
    Fault.AGENT_CRASH: 0.12,
    Fault.AGENT_EXIT: 0.06,
    Fault.AGENT_HANG: 0.1,
    Fault.AGENT_FAILURE: 0.1,
    Fault.DEAF_CANCEL: 0.3,
    Fault.START_FAILS: 0.3,
    Fault.PROMPT_FAILS: 0.15,
    Fault.CANCEL_FAILS: 0.3,
    Fault.STEER_FAILS: 0.3,
    Fault.STOP_FAILS: 0.4,
    Fault.LOST_SESSION: 0.4,
    Fault.SLOW_STORE: 0.1,
    Fault.FAILED_WRITE: 0.03,
    Fault.FAILED_SYNC: 0.02,
    Fault.TIMER_JITTER: 0.1,
    Fault.POWER_LOSS: 1.0,
}
"""How likely an enabled fault happens whenever it could."""

ENABLED = 0.3
"""How likely a seed enables a kind."""
RARE = {Fault.FAILED_SYNC: 0.05, Fault.FAILED_WRITE: 0.1, Fault.POWER_LOSS: 0.08}
"""Kinds after which little else happens are enabled less often."""


@dataclass(frozen=True, slots=True)
class FaultDraw:
    """The faults of one seed.

    :param draw: numbers of the seed, in [0, 1).
    """

    draw: Callable[[], float]
    enabled: frozenset[Fault]

    @classmethod
    def of(cls, draw: Callable[[], float], allowed: Collection[Fault] | None) -> FaultDraw:
        """Draw which kinds the seed has; the draws do not depend on which are allowed.

        :param allowed: none but these; ``None`` allows all.
        """
        drawn = [fault for fault in Fault if draw() < RARE.get(fault, ENABLED)]
        return cls(draw, frozenset(f for f in drawn if allowed is None or f in allowed))

    def without(self, fault: Fault) -> FaultDraw:
        """The same, less one."""
        return FaultDraw(self.draw, self.enabled - {fault})

    def happens(self, fault: Fault) -> bool:
        """Whether it happens, now that it could."""
        return fault in self.enabled and self.draw() < CHANCES[fault]
