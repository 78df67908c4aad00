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
    CustomAgent as CustomAgent,
    resolve_agent as resolve_agent,
)
from .agent.probe import (
    ProbeReport as ProbeReport,
    TargetReport as TargetReport,
    probe_agent as probe_agent,
    probe_target as probe_target,
)
from .agent.process_store import (
    MemoryProcessStore as MemoryProcessStore,
    ProcessQuery as ProcessQuery,
    ProcessStore as ProcessStore,
)
from .agent.protocol import (
    ActivityReporter as ActivityReporter,
    AgentDriver as AgentDriver,
    AgentProcess as AgentProcess,
    DriverStream as DriverStream,
    HealthReporting as HealthReporting,
    PromptRequest as PromptRequest,
    ScopedInterrupter as ScopedInterrupter,
    StartOpts as StartOpts,
)
from .agent.tool_records import (
    InterruptReport as InterruptReport,
    ProcessRecord as ProcessRecord,
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
    KeyPair as KeyPair,
)
from .bus.endpoints import (
    Endpoints as Endpoints,
)
from .bus.errors import (
    BusClosedError as BusClosedError,
    BusCursorError as BusCursorError,
    BusEndpointError as BusEndpointError,
    BusError as BusError,
    BusForbiddenError as BusForbiddenError,
    BusLostError as BusLostError,
    BusOverloadedError as BusOverloadedError,
    BusProtocolError as BusProtocolError,
    BusRemoteError as BusRemoteError,
    BusSecurityError as BusSecurityError,
    BusTimeoutError as BusTimeoutError,
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
    PublisherMetrics as PublisherMetrics,
)
from .bus.roles import (
    Role as Role,
)
from .bus.subscriber import (
    Subscriber as Subscriber,
)
