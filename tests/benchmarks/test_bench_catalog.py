"""100,000 sessions listed from the catalog, beside reading each of their documents (03 14.3)."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from greenroom.actors.model.session import SessionLineage, SessionMeta, State, StopReason
from greenroom.storage.catalog import CATALOG_FILE, SessionCatalog
from greenroom.storage.meta import encode_meta
from greenroom.storage.table_storage import JournalStorage

pytestmark = pytest.mark.bench
SESSIONS = 100_000
NOW = datetime(2026, 4, 3, 12, tzinfo=UTC)

LIST = """
import resource, sys, time
from pathlib import Path
from greenroom.storage.catalog import view_catalog
from greenroom.storage.meta import read_meta
home = Path(sys.argv[1])
view_catalog(home)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.perf_counter()
if sys.argv[2] == "catalog":
    found = [listed.meta for listed in view_catalog(home).sessions()]
else:
    found = [read_meta(path) for path in (home / "sessions").glob("*/meta.json")]
spent = time.perf_counter() - begin
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(len(found), spent, grown)
"""


def listed(home: Path, how: str) -> tuple[int, float, int]:
    ran = subprocess.run(
        [sys.executable, "-c", LIST, str(home), how], capture_output=True, text=True, check=True
    )
    count, spent, grown = ran.stdout.split()
    return int(count), float(spent), int(grown)


@pytest.mark.timeout(600)
def test_100_000_sessions_are_listed_without_opening_each(tmp_path: Path) -> None:
    for number in range(SESSIONS):
        name = f"sess-{number:016x}"
        meta = SessionMeta(
            id=name,
            agent_name="demo",
            workspace_id="ws-0123456789abcdef",
            state=State.STOPPED,
            stop_reason=StopReason.COMPLETED,
            lineage=SessionLineage(root_session_id=name),
            acp_session_id=f"acp-{number:016x}",
            created_at=NOW,
            updated_at=NOW,
        )
        (tmp_path / "sessions" / name).mkdir(parents=True)
        (tmp_path / "sessions" / name / "meta.json").write_bytes(encode_meta(meta))
    storage = JournalStorage(tmp_path / CATALOG_FILE, sync="none")
    begin = time.perf_counter()
    assert sum(1 for _ in SessionCatalog(storage, tmp_path / "sessions").sessions()) == SESSIONS
    made = time.perf_counter() - begin
    storage.close()
    pairs = [(listed(tmp_path, "catalog"), listed(tmp_path, "each")) for _ in range(3)]
    ratio = sorted(each[1] / catalog[1] for catalog, each in pairs)[1]
    for catalog, each in pairs:
        assert catalog[0] == each[0] == SESSIONS
        print(
            f"catalog {catalog[1]:.2f} s, {catalog[2] / 1024:.0f} MB; "
            f"each {each[1]:.2f} s, {each[2] / 1024:.0f} MB"
        )
    size = os.path.getsize(tmp_path / CATALOG_FILE)
    print(f"made in {made:.2f} s, {size / 1e6:.0f} MB; listing is {ratio:.1f} x as fast")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 512 * 1024
    shutil.rmtree(tmp_path)
    assert ratio >= 1.5
