"""Transport: the Agent Client Protocol, agent processes, and the event bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..actors.exports import lazy_names

if TYPE_CHECKING:
    from .agent.context import (
        CallContext as CallContext,
    )
    from .agent.driver import (
        ACPDriver as ACPDriver,
    )
    from .agent.presets import (
        PRESETS as PRESETS,
    )
    from .agent.protocol import (
        AgentDriver as AgentDriver,
    )
    from .agent.protocol import (
        AgentProcess as AgentProcess,
    )
    from .agent.protocol import (
        DriverStream as DriverStream,
    )
    from .agent.protocol import (
        PromptRequest as PromptRequest,
    )
    from .agent.protocol import (
        StartOpts as StartOpts,
    )
    from .bus.endpoints import (
        Endpoints as Endpoints,
    )
    from .bus.errors import (
        BusError as BusError,
    )
    from .bus.subscriber import (
        Subscriber as Subscriber,
    )

_HOME: dict[str, str] = {
    "CallContext": "agent.context",
    "ACPDriver": "agent.driver",
    "PRESETS": "agent.presets",
    **dict.fromkeys(
        ("AgentDriver", "AgentProcess", "DriverStream", "PromptRequest", "StartOpts"),
        "agent.protocol",
    ),
    "Endpoints": "bus.endpoints",
    "BusError": "bus.errors",
    "Subscriber": "bus.subscriber",
}
"""Where each public name lives."""

__getattr__, __dir__ = lazy_names(__name__, _HOME)
__all__ = sorted(_HOME)
