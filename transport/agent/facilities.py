"""What all agents of one driver share."""

from __future__ import annotations

from dataclasses import dataclass

from .link import READ_STALL_S
from .natives import Offload
from .stream import PROMPT_BUFFER_SIZE
from .sweep import Sweep
from .tool_processes import ToolProcesses

NETWORK_COMMAND = ("greenroom", "network")


@dataclass(frozen=True, slots=True)
class Facilities:
    """What all agents of one driver share, and their limits.

    :param offload: runs blocking work in a native thread.
    :param sweep: finds what left a process group.
    :param registry: knows every process that works for a session.
    :param prompt_buffer_size: events a turn holds for its reader before the agent is slowed down.
    :param read_stall_s: how long the reader of events may be behind.
    :param network_command: what a turn that came over the network may run.
    :param pidfd: whether exits are watched by pidfd where the system has it.
    """

    offload: Offload
    sweep: Sweep
    registry: ToolProcesses
    prompt_buffer_size: int = PROMPT_BUFFER_SIZE
    read_stall_s: float = READ_STALL_S
    network_command: tuple[str, ...] = NETWORK_COMMAND
    pidfd: bool = True
