from .acp.outputs import (
    ElicitationAsked as ElicitationAsked,
    WorkChanged as WorkChanged,
)
from .agent.context import (
    CallContext as CallContext,
)
from .agent.deciders import (
    ElicitationAnswer as ElicitationAnswer,
    ElicitationAnswerer as ElicitationAnswerer,
    ToolCallObserver as ToolCallObserver,
    ToolExecutionGateway as ToolExecutionGateway,
    ToolRequest as ToolRequest,
)
from .agent.driver import (
    ACPDriver as ACPDriver,
)
from .agent.presets import (
    PRESETS as PRESETS,
)
from .agent.presets import (
    CustomAgent as CustomAgent,
)
from .agent.presets import (
    resolve_agent as resolve_agent,
)
from .agent.probe import (
    ProbeReport as ProbeReport,
)
from .agent.probe import (
    TargetReport as TargetReport,
)
from .agent.probe import (
    probe_agent as probe_agent,
)
from .agent.probe import (
    probe_target as probe_target,
)
from .agent.process_store import (
    MemoryProcessStore as MemoryProcessStore,
)
from .agent.process_store import (
    ProcessQuery as ProcessQuery,
)
from .agent.process_store import (
    ProcessStore as ProcessStore,
)
from .agent.protocol import (
    ActivityReporter as ActivityReporter,
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
    HealthReporting as HealthReporting,
)
from .agent.protocol import (
    PromptRequest as PromptRequest,
)
from .agent.protocol import (
    ScopedInterrupter as ScopedInterrupter,
)
from .agent.protocol import (
    StartOpts as StartOpts,
)
from .agent.tool_records import (
    InterruptReport as InterruptReport,
)
from .agent.tool_records import (
    ProcessRecord as ProcessRecord,
)
from .agent.tool_records import (
    Scope as Scope,
)
from .bus.async_subscriber import (
    AsyncSubscriber as AsyncSubscriber,
)
from .bus.control_client import (
    ControlClient as ControlClient,
)
from .bus.control_server import (
    ControlServer as ControlServer,
)
from .bus.credentials import (
    Credentials as Credentials,
)
from .bus.credentials import (
    KeyPair as KeyPair,
)
from .bus.endpoints import (
    Endpoints as Endpoints,
)
from .bus.errors import (
    BusClosedError as BusClosedError,
)
from .bus.errors import (
    BusCursorError as BusCursorError,
)
from .bus.errors import (
    BusEndpointError as BusEndpointError,
)
from .bus.errors import (
    BusError as BusError,
)
from .bus.errors import (
    BusForbiddenError as BusForbiddenError,
)
from .bus.errors import (
    BusLostError as BusLostError,
)
from .bus.errors import (
    BusOverloadedError as BusOverloadedError,
)
from .bus.errors import (
    BusProtocolError as BusProtocolError,
)
from .bus.errors import (
    BusRemoteError as BusRemoteError,
)
from .bus.errors import (
    BusSecurityError as BusSecurityError,
)
from .bus.errors import (
    BusTimeoutError as BusTimeoutError,
)
from .bus.errors import (
    RequestExpiredError as RequestExpiredError,
)
from .bus.filters import (
    EventFilter as EventFilter,
)
from .bus.green_subscriber import (
    GreenSubscriber as GreenSubscriber,
)
from .bus.keys import (
    KeyStore as KeyStore,
)
from .bus.positions import (
    Lag as Lag,
)
from .bus.publisher import (
    Publisher as Publisher,
)
from .bus.publisher import (
    PublisherMetrics as PublisherMetrics,
)
from .bus.roles import (
    Role as Role,
)
from .bus.subscriber import (
    Subscriber as Subscriber,
)
