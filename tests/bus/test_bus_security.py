"""Keys on disk, the gate, and what a peer without the right key gets: nothing."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from greenroom.transport.bus import keys as keys_module
from greenroom.transport.bus.catchup import HeadsRequest, encode_request
from greenroom.transport.bus.control_call import Verb
from greenroom.transport.bus.control_client import ControlClient
from greenroom.transport.bus.control_server import ControlServer
from greenroom.transport.bus.credentials import Credentials, KeyPair, check_address
from greenroom.transport.bus.endpoints import Endpoints
from greenroom.transport.bus.error_table import ErrorTable
from greenroom.transport.bus.errors import (
    BusEndpointError,
    BusForbiddenError,
    BusProtocolError,
    BusSecurityError,
    BusTimeoutError,
)
from greenroom.transport.bus.keys import KeyStore, load_credentials
from greenroom.transport.bus.publisher import Publisher, Remote
from greenroom.transport.bus.roles import Role
from greenroom.transport.bus.security import Gate
from greenroom.transport.bus.subscriber import Subscriber
from greenroom.transport.bus.zap import VERSION, allow, decode_zap, deny, z85_of
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

WAIT = 20.0
ANY = Endpoints("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- keys -------------------------------------------------------------------------------------


def test_keys_are_private_files_and_the_servers_stays_the_same(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    server = store.server()
    assert store.server() == server
    made = store.generate("laptop", Role.OPERATE)
    store.allow("phone", KeyPair(*_pair()).public, Role.READ)
    assert [(key.name, key.role) for key in store.allowed()] == [
        ("laptop", Role.OPERATE),
        ("phone", Role.READ),
    ]
    assert made.server == server.public
    assert load_credentials(store.directory / "laptop.key") == made
    assert mode(store.directory) == 0o700
    assert {mode(path) for path in store.directory.iterdir()} == {0o600}
    assert made.pair.secret not in repr(made)
    store.revoke("laptop")
    assert [key.name for key in store.allowed()] == ["phone"]
    assert not (store.directory / "laptop.key").exists()


def _pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


@pytest.mark.parametrize("name", ["", "server", "../x", "a b", "x" * 65, ".hidden"])
def test_a_name_that_can_not_be_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(BusSecurityError):
        KeyStore(tmp_path).generate(name, Role.READ)


def test_keys_that_can_not_be_added_or_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = KeyStore(tmp_path)
    first = store.generate("one", Role.READ)
    for name, public in (("one", _pair()[0]), ("two", first.pair.public), ("two", "short")):
        with pytest.raises(BusSecurityError):
            store.allow(name, public, Role.READ)
    with pytest.raises(BusSecurityError, match="no key"):
        store.revoke("none")
    monkeypatch.setattr(keys_module, "ALLOWED_MAX", 1)
    with pytest.raises(BusSecurityError, match="more than 1"):
        store.allow("two", _pair()[0], Role.READ)


def test_keys_that_others_could_use_are_not_believed(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    store.generate("one", Role.READ)
    for name in ("server.key", "one.key", "allowed.json"):
        path = store.directory / name
        path.chmod(0o640)
        with pytest.raises(BusSecurityError, match="chmod"):
            {"server.key": store.server, "allowed.json": store.allowed}.get(
                name, lambda path=path: load_credentials(path)
            )()
        path.chmod(0o600)
    store.directory.chmod(0o755)
    with pytest.raises(BusSecurityError, match="chmod"):
        store.generate("two", Role.READ)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"public": 1}', '{"public": "x", "secret": "y"}']
)
def test_files_that_hold_no_keys(tmp_path: Path, text: str) -> None:
    store = KeyStore(tmp_path)
    credentials = store.generate("one", Role.READ)
    for name in ("server.key", "one.key"):
        (store.directory / name).write_text(text)
    with pytest.raises(BusSecurityError):
        store.server()
    with pytest.raises(BusSecurityError):
        load_credentials(store.directory / "one.key")
    with pytest.raises(BusSecurityError):
        load_credentials(tmp_path / "none")
    pair = {"public": credentials.pair.public, "secret": credentials.pair.secret}
    (store.directory / "one.key").write_text(json.dumps(pair))
    with pytest.raises(BusSecurityError, match="names no runtime"):
        load_credentials(store.directory / "one.key")
    (store.directory / "allowed.json").write_text('{"one": {"public": "x", "role": "read"}}')
    with pytest.raises(BusSecurityError):
        store.allowed()
    (store.directory / "allowed.json").write_text('{"one": 3}')
    with pytest.raises(BusSecurityError):
        store.allowed()


def test_a_write_that_fails_leaves_the_list_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = KeyStore(tmp_path)
    store.generate("one", Role.READ)

    def fail(*args: object) -> None:
        raise OSError(28, "no space")

    before = sorted(os.listdir(store.directory))
    monkeypatch.setattr(keys_module.os, "rename", fail)
    with pytest.raises(BusSecurityError, match="no space"):
        store.allow("two", _pair()[0], Role.READ)
    assert sorted(os.listdir(store.directory)) == before
    assert len(store.allowed()) == 1
    assert KeyStore(tmp_path / "none").changed_at() == 0


# -- addresses and zap ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "encrypted", "fine"),
    [
        ("ipc:///tmp/x", False, True),
        ("inproc://x", False, True),
        ("tcp://127.0.0.1:1", False, False),
        ("tcp://127.0.0.1:1", True, True),
        ("udp://x", False, False),
    ],
)
def test_what_leaves_the_machine_needs_keys(address: str, encrypted: bool, fine: bool) -> None:
    if fine:
        check_address(address, encrypted)
    else:
        with pytest.raises(BusEndpointError, match="needs keys"):
            check_address(address, encrypted)


@given(st.binary(min_size=32, max_size=32))
def test_keys_as_text_are_those_of_libzmq(key: bytes) -> None:
    assert z85.encode(key).decode() == z85_of(key)


@given(st.lists(st.binary(max_size=40), max_size=9))
def test_whatever_asks_the_gate_is_a_request_or_refused(parts: list[bytes]) -> None:
    try:
        request = decode_zap(parts)
    except BusProtocolError:
        return
    assert len(request.public_key) == 40


def test_requests_and_replies_of_the_gate() -> None:
    key = bytes(range(32))
    request = decode_zap([VERSION, b"7", b"greenroom", b"1.2.3.4", b"", b"CURVE", key])
    assert (request.request_id, request.domain, request.address) == (b"7", "greenroom", "1.2.3.4")
    assert allow(b"7", "me")[2:5] == [b"200", b"OK", b"me"]
    assert deny(b"7")[2:5] == [b"400", b"no", b""]
    with pytest.raises(BusProtocolError):
        decode_zap([VERSION, b"7", b"greenroom", b"1.2.3.4", b"", b"CURVE", b"short"])
    with pytest.raises(BusProtocolError):
        decode_zap([VERSION, b"7", b"greenroom", b"1.2.3.4", b"", b"PLAIN", b"u", b"p"])


# -- the gate ---------------------------------------------------------------------------------


class Guarded:
    """A publisher and a control plane behind a gate, on loopback."""

    def __init__(self, home: Path, runtime: Any) -> None:
        self.hub = runtime.hub
        self.source = runtime.source
        self.keys = KeyStore(home)

        def work() -> None:
            self.context: zmq.Context[Any] = zmq.Context()
            self.gate = Gate(self.keys, self.context)
            self.server_key = self.gate.open()
            self.publisher = Publisher(
                home,
                source=self.source,
                context=self.context,
                remote=Remote(ANY, self.gate.secure),
            )
            self.publisher.open()
            self.control = ControlServer(
                {"who": Verb(lambda call: [call.user, call.role.value], Role.OPERATE)},
                errors=ErrorTable(),
                role_of=self.gate.role_of,
            )
            self.control.open(self.context, "tcp://127.0.0.1:*", self.gate.secure)

        self.hub.call(work)
        endpoints = self.publisher.remote_endpoints
        assert endpoints is not None
        self.endpoints: Endpoints = endpoints

    def add(self, session_id: str, count: int) -> None:
        self.hub.call(
            lambda: self.publisher.publish(session_id, self.source.add(session_id, count))
        )

    def stop(self) -> None:
        def work() -> None:
            self.control.close()
            self.publisher.close()
            self.gate.close()
            self.gate.close()
            self.context.destroy(linger=0)

        self.hub.call(work)


@pytest.fixture
def guarded(tmp_path: Path, runtimes: Callable[..., Any]) -> Iterator[Guarded]:
    (tmp_path / "other").mkdir()
    (tmp_path / "home").mkdir()
    guarded = Guarded(tmp_path / "home", runtimes(tmp_path / "other"))
    yield guarded
    guarded.stop()


def sequences(subscriber: Subscriber, count: int) -> list[int]:
    found = [subscriber.next(WAIT) for _ in range(count)]
    assert all(found)
    return [event.sequence for event in found if event]


def test_an_allowed_key_follows_from_another_machine_and_locals_need_none(
    guarded: Guarded, tmp_path: Path
) -> None:
    keys = guarded.keys.generate("reader", Role.READ)
    guarded.add("a", 3)
    with (
        Subscriber(guarded.endpoints, "a", keys=keys) as remote,
        Subscriber(tmp_path / "home", "a") as local,
    ):
        assert sequences(remote, 3) == sequences(local, 3) == [1, 2, 3]
        guarded.add("a", 2)
        assert sequences(remote, 2) == sequences(local, 2) == [4, 5]
    assert guarded.gate.admitted >= 2
    assert guarded.endpoints.events.startswith("tcp://127.0.0.1:")


def test_roles_bound_what_a_key_can_call_and_a_revoked_one_calls_nothing(guarded: Guarded) -> None:
    reader = guarded.keys.generate("reader", Role.READ)
    driver = guarded.keys.generate("driver", Role.OPERATE)
    address = guarded.control.address
    with ControlClient(address, errors=ErrorTable(), keys=driver) as client:
        assert client.call("who", timeout=WAIT) == ["driver", "operate"]
        guarded.keys.revoke("driver")
        with pytest.raises(BusForbiddenError, match="revoked"):
            client.call("who", timeout=WAIT)
    with (
        ControlClient(address, errors=ErrorTable(), keys=reader) as client,
        pytest.raises(BusForbiddenError),
    ):
        client.call("who", timeout=WAIT)


def test_a_wrong_key_gets_no_event_and_no_answer(guarded: Guarded) -> None:
    """A stranger's pair, a wrong idea of the runtime's key, and no encryption at all."""
    guarded.keys.generate("reader", Role.READ)
    stranger = KeyPair(*_pair())
    context: zmq.Context[Any] = zmq.Context()
    try:
        for keys in (
            Credentials(stranger, guarded.server_key),
            Credentials(guarded.keys.generate("lost", Role.ADMIN).pair, stranger.public),
            None,
        ):
            events, control = context.socket(zmq.SUB), context.socket(zmq.DEALER)
            for sock, address in (
                (events, guarded.endpoints.events),
                (control, guarded.endpoints.control),
            ):
                if keys is not None:
                    sock.curve_serverkey = keys.server.encode()
                    sock.curve_publickey = keys.pair.public.encode()
                    sock.curve_secretkey = keys.pair.secret.encode()
                sock.connect(address)
            events.setsockopt(zmq.SUBSCRIBE, b"")
            control.send(encode_request(HeadsRequest(1, None)))
            guarded.add("a", 10)
            guarded.hub.call(guarded.publisher.beat)
            assert events.poll(200) == 0
            assert control.poll(50) == 0
            events.close(linger=0)
            control.close(linger=0)
    finally:
        context.destroy(linger=0)
    assert guarded.gate.denied >= 1
    assert guarded.hub.call(guarded.publisher.metrics).requests == 0


def test_a_stranger_at_the_control_plane_waits_in_vain(guarded: Guarded) -> None:
    keys = Credentials(KeyPair(*_pair()), guarded.server_key)
    with (
        ControlClient(guarded.control.address, errors=ErrorTable(), keys=keys) as client,
        pytest.raises(BusTimeoutError),
    ):
        client.call("who", timeout=0.3)
    assert guarded.hub.call(guarded.control.metrics).messages == 0


def test_a_control_plane_that_knows_no_roles_obeys_no_key(guarded: Guarded) -> None:
    keys = guarded.keys.generate("boss", Role.ADMIN)
    verb = {"who": Verb(lambda call: call.user, Role.READ)}

    def work() -> ControlServer:
        server = ControlServer(verb, errors=ErrorTable())
        server.open(guarded.context, "tcp://127.0.0.1:*", guarded.gate.secure)
        return server

    server = guarded.hub.call(work)
    with (
        ControlClient(server.address, errors=ErrorTable(), keys=keys) as client,
        pytest.raises(BusForbiddenError, match="no role"),
    ):
        client.call("who", timeout=WAIT)
    guarded.hub.call(server.close)


def test_dropping_the_remote_door_keeps_the_honest(guarded: Guarded) -> None:
    keys = guarded.keys.generate("reader", Role.READ)
    guarded.add("a", 1)
    with Subscriber(guarded.endpoints, "a", keys=keys) as subscriber:
        assert sequences(subscriber, 1) == [1]
        guarded.hub.call(guarded.publisher.drop_remote)
        guarded.add("a", 2)
        assert sequences(subscriber, 2) == [2, 3]


def test_a_list_that_others_could_write_lets_nobody_in(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    guarded.keys.generate("reader", Role.READ)
    path = guarded.keys.directory / "allowed.json"
    path.chmod(0o666)
    os.utime(path, ns=(1, 1))
    with pytest.raises(BusForbiddenError):
        guarded.gate.role_of("reader")
    assert guarded.gate.role_of("") is Role.ADMIN
    assert "chmod" in caplog.text


def test_without_keys_nothing_is_bound_or_connected(
    tmp_path: Path, runtimes: Callable[..., Any]
) -> None:
    (tmp_path / "other").mkdir()
    runtime = runtimes(tmp_path / "other")
    context: zmq.Context[Any] = zmq.Context()

    def work() -> None:
        closed = Gate(KeyStore(tmp_path), context)
        for secure in (lambda sock: None, closed.secure):
            publisher = Publisher(
                tmp_path, source=runtime.source, context=context, remote=Remote(ANY, secure)
            )
            with pytest.raises(BusEndpointError):
                publisher.open()
            server = ControlServer({}, errors=ErrorTable())
            with pytest.raises(BusEndpointError):
                server.open(context, "tcp://127.0.0.1:*", secure)
        half = Remote(Endpoints("ipc://" + str(tmp_path / "e"), ANY.control), lambda sock: None)
        with pytest.raises(BusEndpointError, match="needs keys"):
            Publisher(tmp_path, source=runtime.source, context=context, remote=half).open()
        gate = Gate(KeyStore(tmp_path), context)
        gate.open()
        with pytest.raises(BusSecurityError):
            Gate(KeyStore(tmp_path), context).open()
        gate.close()
        context.destroy(linger=0)

    runtime.hub.call(work)
    with pytest.raises(BusEndpointError, match="needs keys"):
        Subscriber(Endpoints("tcp://127.0.0.1:1", "tcp://127.0.0.1:1"))
