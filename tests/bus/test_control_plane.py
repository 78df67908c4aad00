"""Calls over real sockets: answered once, whatever is sent again, late, lost, or cut."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cbor2
import gevent
import gevent.event
import pytest
import zmq
from greenroom.actors.errors import SessionNotFoundError
from greenroom.transport.bus import control_call as call_module
from greenroom.transport.bus import control_client as client_module
from greenroom.transport.bus import control_pending as pending_module
from greenroom.transport.bus import control_server as server_module
from greenroom.transport.bus import window as window_module
from greenroom.transport.bus.control import (
    CallId,
    CallMessage,
    CancelMessage,
    EndAnswer,
    ErrorAnswer,
    GrantMessage,
    ItemAnswer,
    OkAnswer,
    PingAnswer,
    UnknownAnswer,
    decode_answer,
    encode_message,
)
from greenroom.transport.bus.control_call import Call, Verb
from greenroom.transport.bus.control_client import ControlClient
from greenroom.transport.bus.control_server import ControlServer, verbs
from greenroom.transport.bus.error_table import ErrorTable
from greenroom.transport.bus.errors import (
    BusClosedError,
    BusEndpointError,
    BusForbiddenError,
    BusLostError,
    BusOverloadedError,
    BusProtocolError,
    BusRemoteError,
    BusTimeoutError,
    RequestExpiredError,
)
from greenroom.transport.bus.roles import Role

WAIT = 20.0
ERRORS = ErrorTable([SessionNotFoundError])


class Daemon:
    """A control plane in a hub thread, with verbs that tests need."""

    def __init__(self, hub: Any, directory: Path) -> None:
        self.hub = hub
        self.address = f"ipc://{directory}/commands"
        self.ran: list[Call] = []
        self.closed_streams = 0
        self.made = 0
        self.gate = hub.call(gevent.event.Event)
        self.options: dict[str, Any] = {}
        self.start()

    def start(self) -> None:
        table = verbs(
            [
                ("echo", Verb(self.echo, Role.READ)),
                ("fail", Verb(self.fail)),
                ("wait", Verb(self.wait)),
                ("count", Verb(self.count, Role.READ, streams=True)),
                ("odd", Verb(lambda call: object())),
                ("exit", Verb(self.exit)),
                ("admin", Verb(self.echo, Role.ADMIN)),
            ]
        )

        def work() -> None:
            self.context: zmq.Context[Any] = zmq.Context()
            self.server = ControlServer(table, errors=ERRORS, **self.options)
            self.server.open(self.context, self.address)

        self.hub.call(work)

    def stop(self) -> None:
        def work() -> None:
            self.server.close()
            self.server.close()
            self.context.destroy(linger=0)

        self.hub.call(work)

    def echo(self, call: Call) -> Any:
        self.ran.append(call)
        return call.args

    def exit(self, call: Call) -> Any:
        raise SystemExit(3)

    def fail(self, call: Call) -> Any:
        match call.args["kind"]:
            case "declared":
                raise SessionNotFoundError("no such", session_id="s", operation="fail")
            case "bug":
                raise ZeroDivisionError("secret detail")
            case _:
                raise ValueError("bad")

    def wait(self, call: Call) -> str:
        self.ran.append(call)
        self.gate.wait()
        return "done"

    def count(self, call: Call) -> Iterator[int]:
        self.ran.append(call)
        try:
            for number in range(call.args["to"]):
                self.made += 1
                yield number
                if number == call.args.get("pause_at"):
                    self.gate.wait()
                if number == call.args.get("fail_at"):
                    raise SessionNotFoundError("gone", session_id="s")
        finally:
            self.closed_streams += 1

    def open_gate(self) -> None:
        self.hub.call(self.gate.set)

    def until(self, condition: Callable[[], bool]) -> None:
        def work() -> None:
            with gevent.Timeout(WAIT):
                while not condition():
                    gevent.sleep(0)

        self.hub.call(work)


@pytest.fixture
def daemon(tmp_path: Path, runtimes: Callable[..., Any]) -> Iterator[Daemon]:
    (tmp_path / "home").mkdir()
    daemon = Daemon(runtimes(tmp_path / "home").hub, tmp_path)
    yield daemon
    daemon.stop()


@pytest.fixture
def client(daemon: Daemon) -> Iterator[ControlClient]:
    with ControlClient(daemon.address, errors=ERRORS) as client:
        yield client


class RawCaller:
    """A DEALER that says what it is told to."""

    def __init__(self, daemon: Daemon) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.dealer = self.context.socket(zmq.DEALER)
        self.dealer.setsockopt(zmq.RCVTIMEO, int(WAIT * 1000))
        self.dealer.connect(daemon.address)

    def say(self, message: Any) -> None:
        self.dealer.send(message if isinstance(message, bytes) else encode_message(message))

    def hear(self) -> Any:
        answer = decode_answer(self.dealer.recv())
        return self.hear() if isinstance(answer, PingAnswer) else answer


@pytest.fixture
def raw(daemon: Daemon) -> Iterator[Callable[[], RawCaller]]:
    made: list[RawCaller] = []

    def make() -> RawCaller:
        made.append(RawCaller(daemon))
        return made[-1]

    yield make
    for caller in made:
        caller.context.destroy(linger=0)


ID = CallId(b"c" * 16, 1)


# -- calls and answers ------------------------------------------------------------------------


def test_a_call_is_answered_with_plain_data(client: ControlClient, daemon: Daemon) -> None:
    args = {"text": "häm", "list": [1, None, 2.5, b"x", {"a": True}]}
    assert client.call("echo", args) == args
    (call,) = daemon.ran
    assert (call.verb, call.user, call.role, call.deadline_s) == ("echo", "", Role.ADMIN, None)
    assert client.call("echo") == {}
    assert daemon.ran[1].request_id != call.request_id


def test_declared_errors_are_rebuilt_with_their_fields(client: ControlClient) -> None:
    with pytest.raises(SessionNotFoundError, match="no such") as caught:
        client.call("fail", {"kind": "declared"})
    assert (caught.value.session_id, caught.value.operation) == ("s", "fail")
    with pytest.raises(ValueError, match="bad"):
        client.call("fail", {"kind": "value"})


def test_a_bug_of_a_handler_is_logged_there_and_says_little_here(
    client: ControlClient, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BusRemoteError) as caught:
        client.call("fail", {"kind": "bug"})
    assert "secret detail" not in str(caught.value)
    assert "secret detail" in caplog.text
    with pytest.raises(BusRemoteError):
        client.call("exit")
    with pytest.raises(BusProtocolError):
        client.call("odd")
    assert client.call("echo") == {}


def test_what_can_not_be_called(client: ControlClient, daemon: Daemon) -> None:
    with pytest.raises(BusProtocolError, match="can not be called"):
        client.call("nothing")
    with pytest.raises(BusProtocolError):
        client.call("echo", {"x": object()})
    assert client._pending == {}
    with pytest.raises(ValueError, match="twice"):
        verbs([("a", Verb(daemon.echo)), ("a", Verb(daemon.echo))])


def test_a_role_bounds_what_can_be_called(daemon: Daemon, client: ControlClient) -> None:
    daemon.stop()
    audited: list[tuple[str, str]] = []
    daemon.options = {
        "role_of": lambda user: Role.READ,
        "audit": lambda call, outcome: audited.append((call.verb, outcome)),
    }
    daemon.start()
    assert client.call("echo") == {}
    with pytest.raises(BusForbiddenError) as caught:
        client.call("wait")
    assert caught.value.fields == {"verb": "wait", "role": "read", "needed": "operate"}
    assert audited == [("echo", "ok"), ("wait", "BusForbiddenError")]


@pytest.mark.parametrize(
    ("role", "needed", "allowed"),
    [(a, b, i >= j) for (i, a), (j, b) in itertools.product(enumerate(Role), repeat=2)],
)
def test_roles_include_the_ones_before(role: Role, needed: Role, allowed: bool) -> None:
    assert role.allows(needed) is allowed


# -- pipelining and threads -------------------------------------------------------------------


def test_many_calls_on_their_way_at_once(client: ControlClient) -> None:
    pending = [client.submit("echo", {"n": number}) for number in range(50)]
    assert [call.result()["n"] for call in pending] == list(range(50))
    assert all(call.done() for call in pending)


def test_answers_overtake_each_other(client: ControlClient, daemon: Daemon) -> None:
    slow = client.submit("wait")
    assert client.call("echo", {"n": 1}) == {"n": 1}
    assert not slow.done()
    daemon.open_gate()
    assert slow.result() == "done"


def test_threads_share_a_client(client: ControlClient) -> None:
    def work(thread: int) -> None:
        for number in range(50):
            assert client.call("echo", {"t": thread, "n": number}) == {"t": thread, "n": number}

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert client._waiting == {}


def test_calls_at_once_are_bounded(client: ControlClient, daemon: Daemon) -> None:
    pending = [client.submit("wait") for _ in range(window_module.CALLS_PER_CALLER_MAX)]
    with pytest.raises(BusOverloadedError) as caught:
        client.call("echo")
    assert caught.value.limit == window_module.CALLS_PER_CALLER_MAX
    metrics = daemon.hub.call(daemon.server.metrics)
    assert (metrics.running, metrics.refused) == (64, 1)
    daemon.open_gate()
    assert {call.result() for call in pending} == {"done"}


def test_calls_of_all_callers_are_bounded(
    client: ControlClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_module, "CALLS_MAX", 1)
    client.submit("wait")
    with pytest.raises(BusOverloadedError):
        client.call("echo")


def test_unanswered_calls_of_a_client_are_bounded(
    client: ControlClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PENDING_MAX", 2)
    client.submit("wait")
    client.submit("wait")
    with pytest.raises(BusOverloadedError):
        client.submit("echo")


# -- deadlines and cancels --------------------------------------------------------------------


def test_a_deadline_ends_the_wait_here_and_the_handler_there(
    client: ControlClient, daemon: Daemon
) -> None:
    with pytest.raises(BusTimeoutError) as caught:
        client.call("wait", timeout=0.05)
    assert caught.value.timeout_s == 0.05
    daemon.until(lambda: daemon.server.metrics().running == 0)
    assert client._pending == {}


def test_the_runtime_cuts_a_handler_at_its_deadline(
    daemon: Daemon, raw: Callable[[], RawCaller]
) -> None:
    caller = raw()
    caller.say(CallMessage(ID, "wait", {}, deadline_ms=20))
    answer = caller.hear()
    assert isinstance(answer, ErrorAnswer)
    assert (answer.name, answer.fields) == ("BusTimeoutError", {"timeout_s": 0.02})


def test_a_call_that_is_cancelled_before_its_first_step(
    daemon: Daemon, raw: Callable[[], RawCaller]
) -> None:
    caller = raw()
    caller.say(CallMessage(ID, "wait", {}))
    caller.say(CancelMessage(ID))
    caller.say(CancelMessage(CallId(b"n" * 16, 9)))
    answer = caller.hear()
    assert isinstance(answer, ErrorAnswer)
    assert answer.name == "BusClosedError"
    assert daemon.hub.call(daemon.server.metrics).running == 0


# -- once -------------------------------------------------------------------------------------


def test_a_call_sent_again_takes_effect_once(daemon: Daemon, raw: Callable[[], RawCaller]) -> None:
    first, second = raw(), raw()
    first.say(CallMessage(ID, "echo", {"n": 1}))
    assert first.hear() == OkAnswer(1, {"n": 1})
    second.say(CallMessage(ID, "echo", {"n": 1}, age_ms=100))
    assert second.hear() == OkAnswer(1, {"n": 1})
    second.say(GrantMessage(ID, 0, 0, again=True))
    assert second.hear() == OkAnswer(1, {"n": 1})
    assert len(daemon.ran) == 1


def test_a_running_call_answers_the_connection_that_asked_last(
    daemon: Daemon, raw: Callable[[], RawCaller]
) -> None:
    first, second = raw(), raw()
    first.say(CallMessage(ID, "wait", {}))
    daemon.until(lambda: bool(daemon.ran))
    first.dealer.close(linger=0)
    second.say(CallMessage(ID, "wait", {}, age_ms=5))
    daemon.until(lambda: daemon.server._messages == 2)
    daemon.open_gate()
    assert second.hear() == OkAnswer(1, "done")
    assert len(daemon.ran) == 1


def test_a_call_nobody_knows_is_told_when_asked_about(
    daemon: Daemon, raw: Callable[[], RawCaller]
) -> None:
    caller = raw()
    caller.say(GrantMessage(ID, 0, 0, again=False))
    caller.say(GrantMessage(ID, 0, 0, again=True))
    assert caller.hear() == UnknownAnswer(1)


def test_an_old_call_does_not_run_again(
    daemon: Daemon, raw: Callable[[], RawCaller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_module, "ANSWERS_MAX", 2)
    caller = raw()
    for number in range(1, 5):
        caller.say(CallMessage(CallId(b"c" * 16, number), "echo", {}))
        caller.hear()
    caller.say(CallMessage(CallId(b"c" * 16, 2), "echo", {}, age_ms=50))
    answer = caller.hear()
    assert isinstance(answer, ErrorAnswer)
    assert answer.name == RequestExpiredError.__name__
    caller.say(CallMessage(CallId(b"d" * 16, 2), "echo", {}, age_ms=10**7))
    assert caller.hear().name == RequestExpiredError.__name__
    assert len(daemon.ran) == 4


def test_what_took_effect_in_an_earlier_life_is_recalled(
    daemon: Daemon, raw: Callable[[], RawCaller]
) -> None:
    daemon.stop()
    asked: list[tuple[str, float]] = []
    stored = {str(CallId(b"c" * 16, 2)): ("from the store",), str(CallId(b"c" * 16, 3)): ([7, 8],)}

    def recall(call: Call) -> Any:
        asked.append((call.request_id, call.age_s))
        return stored.get(call.request_id)

    daemon.options = {"recall": recall}
    daemon.start()
    caller = raw()
    caller.say(CallMessage(CallId(b"c" * 16, 1), "echo", {}))
    assert caller.hear() == OkAnswer(1, {})
    assert asked == []  # it did not come before
    caller.say(CallMessage(CallId(b"c" * 16, 2), "echo", {}, age_ms=1500))
    assert caller.hear() == OkAnswer(2, "from the store")
    assert asked == [(str(CallId(b"c" * 16, 2)), 1.5)]
    caller.say(CallMessage(CallId(b"c" * 16, 3), "count", {"to": 9}, age_ms=1, credit=5))
    assert [caller.hear() for _ in range(3)] == [
        ItemAnswer(3, 1, 7),
        ItemAnswer(3, 2, 8),
        EndAnswer(3, 2),
    ]
    caller.say(CallMessage(CallId(b"c" * 16, 4), "echo", {}, age_ms=1))
    assert caller.hear() == OkAnswer(4, {})
    assert len(daemon.ran) == 2


# -- streams ----------------------------------------------------------------------------------


def test_a_stream_is_iterated_in_order_and_ends(client: ControlClient, daemon: Daemon) -> None:
    assert list(client.stream("count", {"to": 1000}, credit=7)) == list(range(1000))
    assert client.stream("count", {"to": 0}).result() == []
    assert daemon.closed_streams == 2
    assert client._pending == {}


def test_a_stream_makes_no_more_than_its_credit(client: ControlClient, daemon: Daemon) -> None:
    with client.stream("count", {"to": 1000}, credit=10) as stream:
        daemon.until(lambda: daemon.made == 10)
        assert client.call("echo") == {}
        assert daemon.made == 10
        assert [next(stream) for _ in range(6)] == list(range(6))
        assert client.call("echo") == {}
        daemon.until(lambda: daemon.made == 15)
    daemon.until(lambda: daemon.closed_streams == 1)
    assert daemon.made <= 16
    with pytest.raises(BusLostError):
        next(stream)


def test_a_stream_is_bounded_by_bytes_too(
    client: ControlClient, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "STREAM_BYTES_MAX", 60)
    monkeypatch.setattr(pending_module, "GRANT_BYTES", 20)
    stream = client.stream("count", {"to": 100}, credit=60)
    daemon.until(lambda: daemon.made >= 5)
    assert client.call("echo") == {}
    assert daemon.made < 10
    assert stream.result() == list(range(100))


def test_a_stream_fails_after_its_items(client: ControlClient) -> None:
    stream = client.stream("count", {"to": 10, "fail_at": 2})
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SessionNotFoundError):
        next(stream)


def test_a_stream_has_a_deadline(client: ControlClient, daemon: Daemon) -> None:
    stream = client.stream("count", {"to": 10, "pause_at": 1}, timeout=0.1)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(BusTimeoutError):
        next(stream)
    daemon.until(lambda: daemon.closed_streams == 1)


def test_a_call_of_a_stream_is_told(client: ControlClient) -> None:
    with pytest.raises(BusProtocolError, match="streams"):
        pending = client.submit("count", {"to": 3})
        pending._message = pending._message
        client._post(encode_message(GrantMessage(CallId(client._client, pending.number), 0, 3)))
        pending.result()


def test_lost_items_of_a_stream_are_sent_again(
    client: ControlClient, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LOOK_S", 0.01)
    real = daemon.server._send
    lost = iter([3, 4, 10, 11])
    next_lost = [next(lost)]
    sent = itertools.count(1)

    def lossy(peer: bytes, data: bytes) -> bool:
        if cbor2.loads(data)[1] in ("item", "end") and next(sent) == next_lost[0]:
            next_lost[0] = next(lost, 0)
            return True
        return real(peer, data)

    monkeypatch.setattr(daemon.server, "_send", lossy)
    assert client.stream("count", {"to": 9}, credit=4).result() == list(range(9))


def test_a_raw_stream_from_the_document(daemon: Daemon, raw: Callable[[], RawCaller]) -> None:
    caller = raw()
    caller.say(CallMessage(ID, "count", {"to": 3}, credit=2))
    assert [caller.hear(), caller.hear()] == [ItemAnswer(1, 1, 0), ItemAnswer(1, 2, 1)]
    caller.say(GrantMessage(ID, 1, 2, again=True))
    assert caller.hear() == ItemAnswer(1, 2, 1)
    caller.say(GrantMessage(ID, 2, 5))
    assert [caller.hear(), caller.hear()] == [ItemAnswer(1, 3, 2), EndAnswer(1, 3)]


# -- lost connections -------------------------------------------------------------------------


def test_a_client_calls_before_there_is_a_runtime(daemon: Daemon) -> None:
    daemon.stop()
    with ControlClient(daemon.address, errors=ERRORS) as client:
        early = client.submit("echo", {"n": 1})
        with pytest.raises(BusTimeoutError):
            client.call("echo", timeout=0.05)
        daemon.start()
        assert early.result() == {"n": 1}


def test_after_a_restart_unanswered_calls_are_sent_again(
    client: ControlClient, daemon: Daemon
) -> None:
    again = client.submit("wait")
    once = client.submit("wait", resend=False)
    stream = client.stream("count", {"to": 10, "pause_at": 3})
    assert next(stream) == 0
    daemon.until(lambda: len(daemon.ran) == 3)
    daemon.stop()
    daemon.start()
    with pytest.raises(BusLostError):
        once.result()
    rest = []
    with pytest.raises(BusLostError):
        rest += [next(stream) for _ in range(10)]
    daemon.open_gate()
    assert again.result() == "done"
    assert [call.verb for call in daemon.ran].count("wait") == 3


def test_an_answer_lost_with_the_connection_is_asked_for(
    client: ControlClient, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.call("echo") == {}
    monkeypatch.setattr(client_module, "LOOK_S", 0.01)
    monkeypatch.setattr(client_module, "POKE_S", 0.02)
    real = daemon.server._send
    monkeypatch.setattr(daemon.server, "_send", lambda peer, data: True)
    pending = client.submit("echo", {"n": 2})
    daemon.until(lambda: len(daemon.ran) == 2)
    monkeypatch.setattr(daemon.server, "_send", real)
    assert pending.result() == {"n": 2}
    assert len(daemon.ran) == 2


def test_streams_of_callers_that_are_gone_are_cancelled(
    daemon: Daemon, raw: Callable[[], RawCaller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "GONE_S", 0.0)
    here, gone = raw(), raw()
    here.say(CallMessage(ID, "count", {"to": 5}, credit=1))
    gone.say(CallMessage(CallId(b"g" * 16, 1), "count", {"to": 5}, credit=1))
    gone.say(CallMessage(CallId(b"g" * 16, 2), "wait", {}))
    assert isinstance(gone.hear(), ItemAnswer)
    daemon.until(lambda: daemon.server.metrics().running == 3)
    gone.dealer.close(linger=0)

    def look() -> bool:
        daemon.server.look_for_the_gone()
        return daemon.closed_streams == 1

    daemon.until(look)
    assert daemon.hub.call(daemon.server.metrics).running == 2, "a call goes on, a stream does not"
    daemon.open_gate()
    assert isinstance(here.hear(), ItemAnswer)


# -- closing ----------------------------------------------------------------------------------


def test_closing_the_client_ends_those_who_wait(daemon: Daemon) -> None:
    client = ControlClient(daemon.address, errors=ERRORS)
    failures: list[Exception] = []

    def work() -> None:
        try:
            client.call("wait")
        except BusClosedError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    daemon.until(lambda: len(daemon.ran) == 3)
    client.close()
    client.close()
    for thread in threads:
        thread.join(WAIT)
    assert len(failures) == 3
    with pytest.raises(BusClosedError):
        client.call("echo")
    daemon.open_gate()


def test_after_a_fork_a_client_is_unusable(client: ControlClient) -> None:
    pending = client.submit("wait")
    owner, client._owner = client._owner, 0
    for use in (lambda: client.call("echo"), pending.result):
        with pytest.raises(BusClosedError):
            use()
    client.close()
    client._owner = owner
    assert client.call("echo") == {}


def test_an_address_that_can_not_be_used(daemon: Daemon, tmp_path: Path) -> None:
    for address in ("tcp://127.0.0.1:1", "nonsense", "ipc://" + "x" * 300):
        with pytest.raises(BusEndpointError):
            ControlClient(address, errors=ERRORS)
    server = ControlServer({}, errors=ERRORS)
    with pytest.raises(BusEndpointError):
        daemon.hub.call(server.open, daemon.context, f"ipc://{tmp_path}/none/x")


def test_garbage_does_not_end_the_service(
    daemon: Daemon, raw: Callable[[], RawCaller], client: ControlClient
) -> None:
    caller = raw()
    for data in (b"", b"\xff", cbor2.dumps([1]), cbor2.dumps([2, "call", b"c" * 16, 7, "echo"])):
        caller.say(data)
        assert isinstance(caller.hear(), ErrorAnswer)
    caller.dealer.send_multipart([b"a", b"b", b"c"])
    assert client.call("echo") == {}
