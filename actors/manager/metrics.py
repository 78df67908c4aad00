"""What a runtime is doing, as one snapshot: its sessions, its bus, its callers."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from datetime import datetime

from ..core.badge import Badge, BadgeInputs, canonical_badge, is_stalled_info
from ..model.session import State
from ..session.live import LiveSession
from .group import VerbGroup


@dataclass(frozen=True, slots=True)
class SessionGauges:
    """One live session.

    :param events: sequence of its last stored row.
    :param queued: inputs that wait in its queue.
    :param turn_id: the running turn, blank when idle.
    """

    id: str
    name: str
    agent_name: str
    state: State
    badge: Badge
    turn_id: str
    events: int
    queued: int
    agent_pid: int


@dataclass(frozen=True, slots=True)
class RuntimeMetrics:
    """A snapshot.

    :param at: when it was taken.
    :param sessions: the live ones, oldest first.
    :param bus: counters of the publisher (``PublisherMetrics``).
    :param calls: counters of the control plane, all ways in together (``ControlMetrics``).
    """

    at: datetime
    pid: int
    sessions: tuple[SessionGauges, ...]
    bus: dict[str, int]
    calls: dict[str, int]


class MetricsVerbs(VerbGroup):
    """Metrics."""

    def metrics(self) -> RuntimeMetrics:
        """A snapshot of the runtime's counters and its live sessions; costs no disk access."""
        runtime = self._runtime
        calls: dict[str, int] = {}
        for server in runtime.servers:
            for name, count in asdict(server.metrics()).items():
                calls[name] = calls.get(name, 0) + count
        return RuntimeMetrics(
            at=runtime.clock.now(),
            pid=os.getpid(),
            sessions=tuple(_gauges(live) for live in runtime.registry.all()),
            bus=asdict(runtime.publisher.metrics()),
            calls=calls,
        )


def _gauges(live: LiveSession) -> SessionGauges:
    info, turn = live.info(), live.state.turn
    return SessionGauges(
        id=info.id,
        name=info.name,
        agent_name=info.agent_name,
        state=info.state,
        badge=canonical_badge(
            BadgeInputs(
                state=info.state,
                failure=info.failure,
                active_prompt=live.state.is_prompting,
                stalled=is_stalled_info(info),
            )
        ),
        turn_id=turn.turn_id if turn else "",
        events=live.ports.store.last_sequence(),
        queued=len(live.state.queue.entries),
        agent_pid=info.liveness.subprocess_pid if info.liveness else 0,
    )
