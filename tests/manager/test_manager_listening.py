"""A manager that listens: keys and roles over TCP, revocation at once, and the audit of calls."""

from __future__ import annotations

import logging
import os
import stat
from datetime import UTC, datetime

import pytest
from greenroom.actors import SessionManager
from greenroom.actors.errors import SessionValueError
from greenroom.actors.manager import audit as audit_module
from greenroom.actors.manager.audit import AUDIT_FILE, OLDER_FILE, Audit, read_audit
from greenroom.actors.manager.listening import listen_addresses
from greenroom.actors.manager.remote import RemoteSessionManager
from greenroom.transport.bus.control_call import Call
from greenroom.transport.bus.endpoints import Endpoints
from greenroom.transport.bus.errors import BusEndpointError, BusError, BusForbiddenError
from greenroom.transport.bus.keys import KeyStore
from greenroom.transport.bus.roles import Role
from greenroom.transport.bus.subscriber import Subscriber

WAIT = 20.0


@pytest.fixture
def listening(home):
    with SessionManager(home=home, listen="127.0.0.1:*") as manager:
        yield manager


def caller(manager, keys):
    return RemoteSessionManager(manager.home, endpoints=manager.remote_endpoints, keys=keys)


def test_a_key_does_over_tcp_what_its_role_allows(listening, workspace, read_turn):
    store = KeyStore(listening.home)
    reader = store.generate("reader", Role.READ)
    operator = store.generate("operator", Role.OPERATE)
    with caller(listening, operator) as remote:
        session = remote.create(agent_name="demo", workspace_path=workspace)
        with Subscriber(listening.remote_endpoints, session.id, keys=reader) as subscriber:
            assert read_turn(session, session.prompt("@@say hello"))[-1].type == "done"
            types = []
            while "done" not in types:
                types += [event.type for event in subscriber.read(WAIT)]
            assert types.count("user_message") == 1
        with pytest.raises(BusForbiddenError):
            remote.delete(session.id)
    with caller(listening, reader) as remote:
        assert [info.id for info in remote.list()] == [session.id]
        with pytest.raises(BusForbiddenError):
            remote.stop(session.id)
    told = [(line.user, line.verb, line.outcome) for line in read_audit(listening.home)]
    assert ("operator", "create", "ok") in told
    assert ("operator", "delete", "BusForbiddenError") in told
    assert ("reader", "list", "ok") in told
    assert ("reader", "stop", "BusForbiddenError") in told


def test_a_revoked_key_gets_nothing_more_and_others_lose_nothing(listening, workspace):
    store = KeyStore(listening.home)
    stays, goes = store.generate("stays", Role.READ), store.generate("goes", Role.READ)
    session = listening.create(agent_name="demo", workspace_path=workspace)
    with (
        Subscriber(listening.remote_endpoints, session.id, keys=stays) as kept,
        Subscriber(listening.remote_endpoints, session.id, keys=goes) as cut,
        caller(listening, goes) as remote,
    ):
        session.prompt("@@say one").result(WAIT)
        for subscriber in (kept, cut):
            seen = []
            while "done" not in seen:
                seen += [event.type for event in subscriber.read(WAIT)]
        assert remote.list()
        before = listening.metrics().bus["rebinds"]
        store.revoke("goes")
        with pytest.raises(BusForbiddenError):
            remote.list()
        while listening.metrics().bus["rebinds"] == before:
            kept.next(0.05)
        session.prompt("@@say two").result(WAIT)
        seen = []
        while "done" not in seen:
            seen += [event.type for event in kept.read(WAIT)]
        assert cut.read(1.5) == []  # neither a frame nor a page


def test_calls_of_the_owner_are_recorded_unless_they_only_look(manager, session):
    with RemoteSessionManager(manager.home) as remote:
        remote.list()
        remote.interrupt_prompt(session.id)
        with pytest.raises(SessionValueError):
            remote.send_prompt(session.id, " ")
    lines = read_audit(manager.home)
    told = [(line.user, line.verb, line.session_id, line.outcome) for line in lines]
    assert told == [
        ("", "interrupt_prompt", session.id, "ok"),
        ("", "send_prompt", session.id, "SessionValueError"),
    ]
    assert all(line.request_id for line in lines)
    assert stat.S_IMODE(os.stat(manager.home / AUDIT_FILE).st_mode) == 0o600


def test_a_full_record_keeps_one_older_file_and_trouble_stops_nobody(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(audit_module, "AUDIT_BYTES_MAX", 1000)
    clock = datetime(2026, 4, 3, tzinfo=UTC)
    audit = Audit(tmp_path, {}, lambda: clock, logging.getLogger("audit"))
    call = Call("c.1", "v" * 1000, {"session_id": "s" * 1000}, None, "", None)
    for _ in range(20):
        audit(call, "BusProtocolError")
    audit.close()
    audit.close()
    assert (tmp_path / OLDER_FILE).stat().st_size < 2000
    lines = read_audit(tmp_path)
    assert 1 <= len(lines) <= 4
    assert len(lines[0].verb) == len(lines[0].session_id) == audit_module.TEXT_CHARS_MAX
    with open(tmp_path / OLDER_FILE, "ab") as file:
        file.write(b'{"at":')
    assert read_audit(tmp_path) == lines
    lost = Audit(tmp_path / "missing", {}, lambda: clock, logging.getLogger("audit"))
    lost(call, "x")
    lost(call, "x")
    assert lost.lost == 2
    assert len(caplog.records) == 1


@pytest.mark.parametrize("listen", ["x", ":5", "host:", "host:0", "host:65534", "host:http"])
def test_an_address_that_is_none_is_refused_and_the_home_is_free_again(home, listen):
    with pytest.raises(SessionValueError):
        SessionManager(home=home, listen=listen)
    SessionManager(home=home).close()


def test_an_address_that_is_taken_is_refused_and_the_home_is_free_again(listening, tmp_path):
    port = int(listening.remote_endpoints.events.rpartition(":")[2])
    for _ in range(2):
        with pytest.raises(BusEndpointError):
            SessionManager(home=tmp_path / "other", listen=f"127.0.0.1:{port}")
    SessionManager(home=tmp_path / "other").close()


def test_three_sockets_at_consecutive_ports():
    assert listen_addresses("0.0.0.0:7000") == Endpoints(
        "tcp://0.0.0.0:7000", "tcp://0.0.0.0:7001", "tcp://0.0.0.0:7002"
    )


def test_without_keys_nothing_is_spoken(listening):
    with pytest.raises(BusError):
        RemoteSessionManager(listening.home, endpoints=listening.remote_endpoints)
