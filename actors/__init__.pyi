from .core.badge import (
    Badge as Badge,
    BadgeInputs as BadgeInputs,
    attachable_for_info as attachable_for_info,
    badge_for_health as badge_for_health,
    badge_for_info as badge_for_info,
    canonical_badge as canonical_badge,
)
from .core.provider_env import (
    SUPPORTED_REASONING_EFFORTS as SUPPORTED_REASONING_EFFORTS,
    is_supported_reasoning_effort as is_supported_reasoning_effort,
    validate_reasoning_effort as validate_reasoning_effort,
)
from .errors import (
    AgentDoesNotSupportSessionError as AgentDoesNotSupportSessionError,
    AgentError as AgentError,
    AgentExitedError as AgentExitedError,
    AgentNotAvailableError as AgentNotAvailableError,
    AgentStartError as AgentStartError,
    CallerError as CallerError,
    GreenroomError as GreenroomError,
    HomeInUseError as HomeInUseError,
    HookDeniedError as HookDeniedError,
    HookFailedError as HookFailedError,
    InvalidLedgerRecordError as InvalidLedgerRecordError,
    InvalidMarkerError as InvalidMarkerError,
    InvalidPathError as InvalidPathError,
    InvalidPermissionDecisionError as InvalidPermissionDecisionError,
    InvalidRuntimeOverrideError as InvalidRuntimeOverrideError,
    InvalidSessionHealthError as InvalidSessionHealthError,
    InvalidStateTransitionError as InvalidStateTransitionError,
    LedgerExistsError as LedgerExistsError,
    LoadSessionFailedError as LoadSessionFailedError,
    MissingSecretError as MissingSecretError,
    OperationUnavailableError as OperationUnavailableError,
    PathOutsideWorkspaceError as PathOutsideWorkspaceError,
    PendingPermissionConflictError as PendingPermissionConflictError,
    PendingPermissionNotFoundError as PendingPermissionNotFoundError,
    PermissionDeniedError as PermissionDeniedError,
    PromptCanceledError as PromptCanceledError,
    PromptInProgressError as PromptInProgressError,
    PromptNotInProgressError as PromptNotInProgressError,
    PromptStreamLaggedError as PromptStreamLaggedError,
    ProviderUnavailableError as ProviderUnavailableError,
    ReadOnlyRecordEventsError as ReadOnlyRecordEventsError,
    ReadOnlyRecordTokenUsageError as ReadOnlyRecordTokenUsageError,
    RequestError as RequestError,
    ScopedInterruptNotFoundError as ScopedInterruptNotFoundError,
    SessionError as SessionError,
    SessionHealthNotFoundError as SessionHealthNotFoundError,
    SessionInputQueueEntryNotFoundError as SessionInputQueueEntryNotFoundError,
    SessionInputQueueFullError as SessionInputQueueFullError,
    SessionMailboxFullError as SessionMailboxFullError,
    SessionNotActiveError as SessionNotActiveError,
    SessionNotFoundError as SessionNotFoundError,
    SessionValueError as SessionValueError,
    StorageError as StorageError,
    StoreClosedError as StoreClosedError,
    StoreCorruptError as StoreCorruptError,
    StoreDrainTimeoutError as StoreDrainTimeoutError,
    StoreOverloadedError as StoreOverloadedError,
    StoreSyncFailedError as StoreSyncFailedError,
    StoreValidationError as StoreValidationError,
    ToolBlockedForNetworkTurnError as ToolBlockedForNetworkTurnError,
    UnsupportedSecretRefError as UnsupportedSecretRefError,
    WorkspaceNotFoundError as WorkspaceNotFoundError,
    WorkspaceRootMissingError as WorkspaceRootMissingError,
    error_is as error_is,
)
from .manager.handle import (
    Session as Session,
)
from .manager.manager import (
    AsyncSessionManager as AsyncSessionManager,
    SessionManager as SessionManager,
)
from .manager.remote import (
    RemoteSession as RemoteSession,
    RemoteSessionManager as RemoteSessionManager,
)
from .model.agent import (
    AgentDef as AgentDef,
    ApproveRequest as ApproveRequest,
    Caps as Caps,
    CredentialSlot as CredentialSlot,
    PermissionDecision as PermissionDecision,
    PermissionMode as PermissionMode,
    PermissionOption as PermissionOption,
    PermissionRequest as PermissionRequest,
    SessionConfigOption as SessionConfigOption,
)
from .model.create_opts import (
    CreateOpts as CreateOpts,
)
from .model.event import (
    EVENT_TYPE_SESSION_STOPPED as EVENT_TYPE_SESSION_STOPPED,
    AgentEvent as AgentEvent,
    EventType as EventType,
    SessionEvent as SessionEvent,
    TokenUsage as TokenUsage,
)
from .model.failure import (
    FailureKind as FailureKind,
    SessionFailure as SessionFailure,
)
from .model.hooks import (
    AgentHooks as AgentHooks,
    AgentPayload as AgentPayload,
    AssemblyPayload as AssemblyPayload,
    ConversationHooks as ConversationHooks,
    EventHooks as EventHooks,
    HookEvent as HookEvent,
    HookPayload as HookPayload,
    HookSet as HookSet,
    InputPayload as InputPayload,
    LifecycleHooks as LifecycleHooks,
    MessagePayload as MessagePayload,
    MessagePersistedPayload as MessagePersistedPayload,
    PromptHooks as PromptHooks,
    RecordPayload as RecordPayload,
    SessionPayload as SessionPayload,
    ToolHooks as ToolHooks,
    ToolPayload as ToolPayload,
    TurnPayload as TurnPayload,
)
from .model.health import (
    HealthRecoveryResult as HealthRecoveryResult,
    IneligibilityReason as IneligibilityReason,
    SessionHealth as SessionHealth,
    SessionHealthListQuery as SessionHealthListQuery,
    SessionHealthState as SessionHealthState,
    SessionHealthStatus as SessionHealthStatus,
)
from .model.home import (
    HomeStatus as HomeStatus,
)
from .model.ids import (
    IDGenerator as IDGenerator,
)
from .model.marker import (
    MarkerKind as MarkerKind,
)
from .model.prompt_meta import (
    PromptMeta as PromptMeta,
    PromptNetworkMeta as PromptNetworkMeta,
    PromptSyntheticMeta as PromptSyntheticMeta,
    PromptSystemMeta as PromptSystemMeta,
)
from .model.query import (
    EventQuery as EventQuery,
    TurnHistory as TurnHistory,
)
from .model.records import (
    HookMode as HookMode,
    HookOutcome as HookOutcome,
    HookRunQuery as HookRunQuery,
    HookRunRecord as HookRunRecord,
    PermissionRecord as PermissionRecord,
    SessionUsage as SessionUsage,
    TokenStats as TokenStats,
)
from .model.repair import (
    REPAIR_ACTION_APPEND_INTERRUPTED_TOOL_RESULT as REPAIR_ACTION_APPEND_INTERRUPTED_TOOL_RESULT,
    REPAIR_ACTION_APPEND_TERMINAL_ERROR as REPAIR_ACTION_APPEND_TERMINAL_ERROR,
    REPAIR_ISSUE_DANGLING_TOOL_CALL_MISSING_ID as REPAIR_ISSUE_DANGLING_TOOL_CALL_MISSING_ID,
    REPAIR_ISSUE_EVENT_TYPE_MISMATCH as REPAIR_ISSUE_EVENT_TYPE_MISMATCH,
    REPAIR_ISSUE_INVALID_EVENT_JSON as REPAIR_ISSUE_INVALID_EVENT_JSON,
    REPAIR_ISSUE_NO_REPAIRABLE_TURN as REPAIR_ISSUE_NO_REPAIRABLE_TURN,
    REPAIR_ISSUE_SEQUENCE_DUPLICATE as REPAIR_ISSUE_SEQUENCE_DUPLICATE,
    REPAIR_ISSUE_SEQUENCE_GAP as REPAIR_ISSUE_SEQUENCE_GAP,
    REPAIR_ISSUE_SEQUENCE_REGRESSION as REPAIR_ISSUE_SEQUENCE_REGRESSION,
    REPAIR_ISSUE_SESSION_NOT_STOPPED as REPAIR_ISSUE_SESSION_NOT_STOPPED,
    REPAIR_ISSUE_STOP_REASON_REQUIRES_FORCE as REPAIR_ISSUE_STOP_REASON_REQUIRES_FORCE,
    REPAIR_ISSUE_TERMINAL_EVENT_ALREADY_EXISTS as REPAIR_ISSUE_TERMINAL_EVENT_ALREADY_EXISTS,
    REPAIR_SEVERITY_ERROR as REPAIR_SEVERITY_ERROR,
    REPAIR_SEVERITY_INFO as REPAIR_SEVERITY_INFO,
    REPAIR_SEVERITY_WARNING as REPAIR_SEVERITY_WARNING,
    RepairAction as RepairAction,
    RepairIssue as RepairIssue,
    RepairOpts as RepairOpts,
    RepairResult as RepairResult,
)
from .model.restart import (
    RestartMode as RestartMode,
    RestartPolicy as RestartPolicy,
)
from .model.session import (
    SessionInfo as SessionInfo,
    SessionLineage as SessionLineage,
    SessionLivenessMeta as SessionLivenessMeta,
    SessionMeta as SessionMeta,
    SessionType as SessionType,
    StallState as StallState,
    State as State,
    StopCause as StopCause,
    StopReason as StopReason,
)
from .model.settings import (
    DEFAULT_LIVENESS_STALL_AFTER as DEFAULT_LIVENESS_STALL_AFTER,
    SessionBusyInputConfig as SessionBusyInputConfig,
    SessionHealthConfig as SessionHealthConfig,
    SessionSupervisionConfig as SessionSupervisionConfig,
)
from .model.turn import (
    BusyInputMode as BusyInputMode,
    InputQueueSummary as InputQueueSummary,
    SendPromptResult as SendPromptResult,
    TurnSource as TurnSource,
)
from .runtime.actor import (
    GreenActor as GreenActor,
)
from .runtime.backpressure import (
    MailboxPolicy as MailboxPolicy,
)
from .runtime.children import (
    ChildStatus as ChildStatus,
)
from .runtime.childspec import (
    FOREVER as FOREVER,
    KILL as KILL,
    AutoShutdown as AutoShutdown,
    ChildSpec as ChildSpec,
    Restart as Restart,
    Shutdown as Shutdown,
    Strategy as Strategy,
)
from .runtime.clock import (
    Clock as Clock,
)
from .runtime.deadletters import (
    DeadLetter as DeadLetter,
)
from .runtime.dynamic_supervisor import (
    DynamicSupervisor as DynamicSupervisor,
)
from .runtime.errors import (
    ActorError as ActorError,
    ChildExistsError as ChildExistsError,
    ChildNotFoundError as ChildNotFoundError,
    ChildSpecError as ChildSpecError,
    ChildStartError as ChildStartError,
    ChildStateError as ChildStateError,
    ForkedError as ForkedError,
    HubClosedError as HubClosedError,
    LinkBrokenError as LinkBrokenError,
    MailboxFullError as MailboxFullError,
    MessageDroppedError as MessageDroppedError,
    NameTakenError as NameTakenError,
    RestartIntensityError as RestartIntensityError,
    StalledError as StalledError,
    StartFailedError as StartFailedError,
    SupervisionError as SupervisionError,
    TooManyChildrenError as TooManyChildrenError,
    WorkerClosedError as WorkerClosedError,
    WorkerFullError as WorkerFullError,
)
from .runtime.future import (
    GreenFuture as GreenFuture,
)
from .runtime.hub import (
    Hub as Hub,
)
from .runtime.links import (
    link as link,
)
from .runtime.metrics import (
    MetricsSnapshot as MetricsSnapshot,
)
from .runtime.monitor import (
    Down as Down,
    DownReason as DownReason,
)
from .runtime.native import (
    NativeWorker as NativeWorker,
)
from .runtime.parcels import (
    Lane as Lane,
)
from .runtime.ref import (
    GreenRef as GreenRef,
)
from .runtime.restarts import (
    RestartLimits as RestartLimits,
)
from .runtime.stalls import (
    StallKind as StallKind,
)
from .runtime.supervising import (
    SupervisorReport as SupervisorReport,
)
from .runtime.supervisor import (
    ChildCounts as ChildCounts,
    ChildInfo as ChildInfo,
    Supervisor as Supervisor,
)
from .runtime.system import (
    ActorSystem as ActorSystem,
)
from .runtime.timers import (
    tell_after as tell_after,
    tell_every as tell_every,
)
from .runtime.watchdog import (
    BlockReport as BlockReport,
)
from .session.notices import (
    AgentEventNotifier as AgentEventNotifier,
    Notifier as Notifier,
)
from .session.provider_secrets import (
    EnvironmentSecrets as EnvironmentSecrets,
    ProviderSecretResolver as ProviderSecretResolver,
)
from .session.stream import (
    PromptStream as PromptStream,
)
