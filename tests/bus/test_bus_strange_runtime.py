"""A subscriber of a runtime that answers wrongly, speaks another version, or sends garbage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cbor2
import pytest
import zmq
from greenroom.actors.model.event import AgentEvent
from greenroom.storage.format.rows import encode_row
from greenroom.transport.bus import follower as follower_module
from greenroom.transport.bus.catchup import (
    HeadsReply,
    HeadsRequest,
    Request,
    RowsRequest,
    decode_request,
    encode_page,
    encode_reply,
)
from greenroom.transport.bus.endpoints import Endpoints
from greenroom.transport.bus.errors import BusProtocolError
from greenroom.transport.bus.fields import Head
from greenroom.transport.bus.follower import FAILURES_MAX
from greenroom.transport.bus.frames import Heartbeat, encode_heartbeat
from greenroom.transport.bus.subscriber import Subscriber

NOW = datetime(2026, 4, 3, tzinfo=UTC)
ROW = encode_row(
    session_id="a",
    epoch=1,
    sequence=1,
    id="ev",
    turn_id="t",
    type="done",
    agent_name="n",
    timestamp=NOW,
    event=AgentEvent(type="done", timestamp=NOW),
)


def honest(request: Request) -> bytes:
    match request:
        case HeadsRequest(request_id):
            return encode_reply(HeadsReply(request_id, (Head("a", 1, 1),), False))
        case RowsRequest(_, _, _, sequence):
            return encode_page(request, [ROW][sequence:], (1, 1), False)


class Strange:
    """A runtime whose answers a test chooses, in a thread of its own."""

    def __init__(self, directory: Path) -> None:
        self.endpoints = Endpoints(f"ipc://{directory}/e", f"ipc://{directory}/c")
        self.answer: Callable[[Request], bytes] = honest
        self.context: zmq.Context[Any] = zmq.Context()
        self.events = self.context.socket(zmq.XPUB)
        self.events.bind(self.endpoints.events)
        self._control = self.context.socket(zmq.ROUTER)
        self._control.bind(self.endpoints.control)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                identity, data = self._control.recv_multipart()
            except zmq.ZMQError:
                return
            if not data:
                return
            self._control.send_multipart([identity, self.answer(decode_request(data))])

    def publish(self, *frames: bytes) -> None:
        assert self.events.recv()  # a subscription is there
        for frame in frames:
            self.events.send(frame)

    def stop(self) -> None:
        last = self.context.socket(zmq.DEALER)
        last.connect(self.endpoints.control)
        last.send(b"")
        self._thread.join(20)
        self.context.destroy(linger=0)


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Strange]:
    monkeypatch.setattr(follower_module, "RETRY_S", 0.001)
    runtime = Strange(tmp_path)
    yield runtime
    runtime.stop()


def test_an_answer_of_another_version_is_told_at_once(strange: Strange) -> None:
    asked: list[Request] = []

    def answer(request: Request) -> bytes:
        asked.append(request)
        return cbor2.dumps([2, request.request_id, "heads", [], False])

    strange.answer = answer
    with Subscriber(strange.endpoints, "a") as subscriber:
        with pytest.raises(BusProtocolError) as caught:
            subscriber.next(20)
        assert caught.value.version == 2
        assert len(asked) == 1


def test_a_heartbeat_of_another_version_is_told(strange: Strange) -> None:
    with Subscriber(strange.endpoints, "a") as subscriber:
        assert subscriber.next(20) is not None
        strange.publish(b"h\0" + cbor2.dumps([2, "i", 1, 1, None]))
        with pytest.raises(BusProtocolError) as caught:
            subscriber.next(20)
        assert caught.value.version == 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda request: b"garbage",
        lambda request: encode_page(RowsRequest(request.request_id, "a", 0, 0), [], (1, 0), False),
        lambda request: encode_page(RowsRequest(request.request_id, "b", 0, 0), [], (1, 0), False),
    ],
)
def test_wrong_answers_are_asked_again_and_then_told(
    strange: Strange, wrong: Callable[[Request], bytes]
) -> None:
    asked: list[Request] = []

    def answer(request: Request) -> bytes:
        asked.append(request)
        return wrong(request)

    strange.answer = answer
    with Subscriber(strange.endpoints, "a") as subscriber:
        with pytest.raises(BusProtocolError):
            subscriber.next(20)
        assert len(asked) == FAILURES_MAX
        strange.answer = honest
        event = subscriber.next(20)
        assert event is not None
        assert event.sequence == 1


def test_an_answer_to_an_older_question_is_passed_over(strange: Strange) -> None:
    def answer(request: Request) -> bytes:
        strange.answer = honest
        return encode_reply(HeadsReply(request.request_id + 7, (), False))

    strange.answer = answer
    with Subscriber(strange.endpoints, "a", request_timeout_s=0.05) as subscriber:
        assert subscriber.next(20) is not None


def test_an_answer_that_never_comes_is_asked_for_again(strange: Strange) -> None:
    asked: list[Request] = []

    def answer(request: Request) -> bytes:
        asked.append(request)
        if len(asked) == 3:
            strange.answer = honest
        return encode_reply(HeadsReply(0, (), False))

    strange.answer = answer
    with Subscriber(strange.endpoints, "a", request_timeout_s=0.02) as subscriber:
        assert subscriber.next(20) is not None
        assert len({request.request_id for request in asked}) == 3


def test_garbage_on_the_events_socket_is_counted_and_healed(strange: Strange) -> None:
    with Subscriber(strange.endpoints, "a", idle_sync_s=1000) as subscriber:
        assert subscriber.next(20) is not None
        strange.publish(b"h\0garbage", b"s/a\0garbage")
        while subscriber._machine.garbage < 2:
            assert subscriber.next(0.01) is None


def test_another_life_of_the_runtime_voids_what_was_asked(strange: Strange) -> None:
    def never(request: Request) -> bytes:
        return encode_reply(HeadsReply(0, (), False))

    with Subscriber(strange.endpoints, "a", idle_sync_s=1000, request_timeout_s=1000) as subscriber:
        strange.answer = never
        subscriber.next(0.05)
        strange.publish(encode_heartbeat(Heartbeat("one", 1, 0, ())))
        subscriber.next(0.05)
        strange.answer = honest
        strange.events.send(encode_heartbeat(Heartbeat("two", 1, 0, ())))
        assert subscriber.next(20) is not None
