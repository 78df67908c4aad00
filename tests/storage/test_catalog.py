"""03 14.2, 01 16.4.5: the catalog knows every session, and is never truth about one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from greenroom.actors.errors import StorageError
from greenroom.actors.model.session import SessionLineage, SessionMeta, State
from greenroom.storage import catalog as module
from greenroom.storage.catalog import CATALOG_FILE, SessionCatalog, view_catalog
from greenroom.storage.meta import write_meta
from greenroom.storage.table_storage import JournalStorage
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import FaultyFileSystem

NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)


def meta(session_id: str, **members: object) -> SessionMeta:
    facts = {
        "agent_name": "demo",
        "workspace_id": "ws-1",
        "state": State.STOPPED,
        "created_at": NOON,
        "updated_at": NOON,
        **members,
    }
    root = SessionLineage(root_session_id=session_id)
    return SessionMeta(id=session_id, lineage=root, **facts)  # type: ignore[arg-type]


class Home:
    """A home of documents only."""

    def __init__(self, path: Path, fs: FaultyFileSystem | None = None) -> None:
        self.path, self.fs = path, fs
        self.sessions = path / "sessions"
        self.sessions.mkdir(parents=True, exist_ok=True)
        self.storage: JournalStorage | None = None

    def write(self, session_id: str, **members: object) -> SessionMeta:
        written = meta(session_id, **members)
        write_meta(self.sessions / session_id / "meta.json", written)
        return written

    def open(self) -> SessionCatalog:
        if self.storage is not None:
            self.storage.close()
        self.storage = JournalStorage(self.path / CATALOG_FILE, sync="none", fs=self.fs)
        return SessionCatalog(self.storage, self.sessions)


def found(catalog: SessionCatalog) -> dict[str, SessionMeta | None]:
    return {listed.session_id: listed.meta for listed in catalog.sessions()}


def read_again(catalog: SessionCatalog) -> set[str]:
    return {listed.session_id for listed in catalog.sessions() if listed.read}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    one = Home(tmp_path / "home")
    yield one
    if one.storage is not None:
        one.storage.close()


def test_14_2_a_session_is_read_once_and_then_believed(home: Home) -> None:
    written = {f"s{n}": home.write(f"s{n}") for n in range(5)}
    catalog = home.open()
    assert found(catalog) == written
    assert read_again(catalog) == set()
    assert read_again(home.open()) == set(), "also by the next runtime"
    assert found(home.open()) == written


def test_14_2_a_document_that_was_replaced_is_read_again(home: Home) -> None:
    home.write("s0")
    home.write("s1")
    catalog = home.open()
    found(catalog)
    later = home.write("s1", updated_at=NOON + timedelta(seconds=1))
    assert read_again(home.open()) == {"s1"}
    assert found(home.open())["s1"] == later
    # As long, and as old: a replaced file is another inode.
    stat = os.stat(home.sessions / "s1" / "meta.json")
    twin = home.write("s1", updated_at=NOON + timedelta(seconds=2))
    os.utime(home.sessions / "s1" / "meta.json", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert found(home.open())["s1"] == twin


def test_14_2_what_is_gone_is_not_listed_and_its_row_goes(home: Home) -> None:
    for name in ("s0", "s1"):
        home.write(name)
    catalog = home.open()
    found(catalog)
    (home.sessions / "s0" / "meta.json").unlink()
    assert set(found(catalog)) == {"s1"}
    assert catalog.rows() == ["s1"]


def test_15_2_what_has_no_readable_document_is_told_or_skipped(home: Home) -> None:
    home.write("fine")
    (home.sessions / "empty").mkdir()
    (home.sessions / "a file").write_text("not a session")
    (home.sessions / "bad").mkdir()
    (home.sessions / "bad" / "meta.json").write_text("{")
    listed = {one.session_id: one for one in home.open().sessions()}
    assert set(listed) == {"fine", "bad"}
    assert listed["bad"].meta is None
    assert listed["bad"].error is not None
    assert home.open().rows() == ["fine"]


def test_14_2_it_can_be_deleted_or_damaged_at_any_time(home: Home) -> None:
    written = {"s0": home.write("s0")}
    found(home.open())
    assert home.storage is not None
    home.storage.close()
    path = home.path / CATALOG_FILE
    path.unlink()
    assert found(home.open()) == written
    assert home.storage is not None
    place = home.storage.places("sessions")["s0"]
    home.storage.close()
    data = bytearray(path.read_bytes())
    data[place.offset + 12] ^= 0xFF
    path.write_bytes(bytes(data))
    assert found(view_catalog(home.path)) == written


def test_14_2_a_row_of_another_version_is_made_anew(home: Home) -> None:
    written = home.write("s0")
    catalog = home.open()
    found(catalog)
    assert home.storage is not None
    (row,) = [home.storage.load(place) for place in home.storage.places("sessions").values()]
    for strange in ({"stamp": row["stamp"]}, {**row, "meta": "[]"}, {**row, "meta": 7}):
        home.storage.write({"sessions": {"s0": strange}})
        assert found(catalog) == {"s0": written}
        assert read_again(catalog) == set()


def test_14_2_a_state_nobody_knows_is_read_from_its_document(home: Home) -> None:
    path = home.sessions / "s0" / "meta.json"
    home.write("s0")
    path.write_text(path.read_text().replace("stopped", "hibernating"))
    catalog = home.open()
    for _ in range(2):
        assert [str(one.meta.state) for one in catalog.sessions() if one.meta] == ["hibernating"]


def test_14_2_a_catalog_that_can_not_be_written_costs_time_and_no_answer(tmp_path: Path) -> None:
    fs = FaultyFileSystem()
    home = Home(tmp_path / "home", fs)
    written = {"s0": home.write("s0")}
    catalog = home.open()
    fs.fail("append", CATALOG_FILE, OSError(errno.ENOSPC, "full"))
    assert found(catalog) == written
    assert isinstance(catalog.error, StorageError)
    fs.heal()
    assert read_again(catalog) == {"s0"}
    assert catalog.error is None
    assert read_again(catalog) == set()


def test_14_2_rows_are_put_in_records_of_bounded_size(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_COMMIT", 2)
    for number in range(5):
        home.write(f"s{number}")
    assert len(found(home.open())) == 5
    home.open()
    assert home.storage is not None
    assert home.storage.report.records == 3


def test_14_2_a_view_makes_and_writes_nothing(home: Home) -> None:
    assert found(view_catalog(home.path / "nowhere")) == {}
    home.write("s0")
    assert set(found(view_catalog(home.path))) == {"s0"}
    assert not (home.path / CATALOG_FILE).exists()
    found(home.open())
    home.write("s1")
    before = (home.path / CATALOG_FILE).read_bytes()
    assert read_again(view_catalog(home.path)) == {"s1"}
    assert (home.path / CATALOG_FILE).read_bytes() == before


def test_14_2_a_directory_that_can_not_be_read_is_an_error(home: Home) -> None:
    (home.path / "sessions").rmdir()
    (home.path / "sessions").write_text("no directory")
    with pytest.raises(StorageError):
        found(home.open())


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "remove", "list", "reopen"]), st.integers(0, 3)),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_14_2_whatever_happened_it_says_what_the_documents_say(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    catalog, documents = home.open(), {}
    for count, (step, number) in enumerate(steps):
        name = f"s{number}"
        if step == "write":
            written = meta(name, updated_at=NOON + timedelta(seconds=count))
            write_meta(home.sessions / name / "meta.json", written)
            documents[name] = replace(written)
        elif step == "remove" and documents.pop(name, None):
            (home.sessions / name / "meta.json").unlink()
        elif step == "reopen":
            catalog = home.open()
        elif step == "list":
            assert found(catalog) == documents
    assert found(catalog) == found(view_catalog(home.path)) == documents
