from .commits import (
    Durability as Durability,
)
from .failpoints import (
    FailPoint as FailPoint,
)
from .files import (
    File as File,
    FileSystem as FileSystem,
    OsFileSystem as OsFileSystem,
)
from .format.transcript import (
    UIMessage as UIMessage,
    UIMessagePart as UIMessagePart,
    join_ui_message_text as join_ui_message_text,
    to_json as to_json,
    to_ui_messages as to_ui_messages,
    ui_message_text as ui_message_text,
)
from .health_rows import (
    HealthStore as HealthStore,
    JournalHealthStore as JournalHealthStore,
)
from .home import (
    HomeStore as HomeStore,
)
from .journal import (
    RecoveryReport as RecoveryReport,
)
from .ledger import (
    FileLedgerMaterializer as FileLedgerMaterializer,
    LedgerMaterializer as LedgerMaterializer,
    SessionLedgerRecord as SessionLedgerRecord,
)
from .meta import (
    read_meta as read_meta,
    write_meta as write_meta,
)
from .readonly import (
    ReadOnlySessionStore as ReadOnlySessionStore,
)
from .replay import (
    ReplayReport as ReplayReport,
)
from .session_store import (
    SessionStore as SessionStore,
    StoredRow as StoredRow,
)
from .state_documents import (
    StateOp as StateOp,
)
from .stored_sessions import (
    RowsPage as RowsPage,
)
from .table_storage import (
    JournalStorage as JournalStorage,
)
from .tables import (
    JournalDB as JournalDB,
    JournalTable as JournalTable,
)
