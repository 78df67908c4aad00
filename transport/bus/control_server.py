"""The runtime's end of the control plane: calls in, answers out.

Rules owned here: everything runs in the hub thread that called ``open()``; each call has a greenlet
of its own; a call that is sent again is answered, not run, again; a stream goes no further than its
caller's credit; whoever is gone for ``GONE_S`` has its streams cancelled. What a handler raises
reaches its caller as an answer, and nobody else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import gevent
import zmq

from .control import (
    CALL_BYTES_MAX,
    PING,
    CallMessage,
    CancelMessage,
    ErrorAnswer,
    GrantMessage,
    Message,
    UnknownAnswer,
    decode_message,
    encode_answer,
    number_in,
)
from .control_call import Call, Running, Verb
from .error_table import ErrorTable
from .errors import BusEndpointError, BusError, BusForbiddenError, BusProtocolError
from .events_socket import BACKLOG, HANDSHAKE_MS
from .hub_socket import HubSocket
from .roles import Role
from .security import require_encryption
from .window import Remembered, Window

CALLS_QUEUED_MAX = 256
"""Messages queued of one peer; more wait in its own socket."""
ANSWERS_QUEUED_MAX = 1000
"""Answers queued for one peer that does not read; further ones are sent when it asks again."""
PING_S = 5.0
"""Between two looks whether the callers of running calls are still connected."""
GONE_S = 30.0
"""How long a caller may be disconnected before its running streams are cancelled."""


@dataclass(frozen=True, slots=True)
class ControlMetrics:
    """What a control plane did so far, and what it is doing."""

    messages: int
    calls: int
    refused: int
    running: int


class ControlServer:
    """Answers calls.

    :param verbs: what can be called, by name.
    :param errors: the exceptions that travel.
    :param role_of: what a peer may do, by the name its key was given; the local owner's is ``""``.
        By default the owner may do everything, and nobody else anything.
    :param recall: what the handler returned for a call that came before and took effect, maybe in
        an earlier life of the runtime, in a tuple; ``None`` for one that did not.
    :param audit: told of each call that is over, and of what became of it: ``ok``, ``cancelled``,
        or the name of the error; also of those that were refused.
    """

    def __init__(
        self,
        verbs: Mapping[str, Verb],
        *,
        errors: ErrorTable,
        role_of: Callable[[str], Role] | None = None,
        recall: Callable[[Call], tuple[Any] | None] | None = None,
        audit: Callable[[Call, str], object] | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self._verbs = verbs
        self._errors = errors
        self._role_of = role_of or _local_only
        self._recall = recall
        self._audit = audit
        self._logger = logger or logging.getLogger(__name__)
        self._window = Window(time.monotonic)
        self._running: dict[int, Running] = {}
        self._gone: dict[bytes, float] = {}
        self._socket: HubSocket | None = None
        self.address = ""
        self._timer: Any = None
        self._messages = self._calls = self._refused = 0

    def open(
        self,
        context: zmq.Context[Any],
        address: str,
        secure: Callable[[zmq.Socket[Any]], object] | None = None,
    ) -> None:
        """Bind and begin to answer.

        :param secure: sets the options of encryption before the socket is bound.
        :raises BusEndpointError: the address can not be bound.
        """
        sock = context.socket(zmq.ROUTER)
        try:
            for option, value in (
                (zmq.LINGER, 0),
                (zmq.ROUTER_MANDATORY, 1),
                (zmq.RCVHWM, CALLS_QUEUED_MAX),
                (zmq.SNDHWM, ANSWERS_QUEUED_MAX),
                (zmq.MAXMSGSIZE, CALL_BYTES_MAX),
                (zmq.BACKLOG, BACKLOG),
                (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            ):
                sock.setsockopt(option, value)
            if secure is not None:
                secure(sock)
            require_encryption(sock, address)
            sock.bind(address)
        except (zmq.ZMQError, BusError) as error:
            sock.close(linger=0)
            raise BusEndpointError(f"{address}: {error}", path=address) from error
        self.address = str(sock.getsockopt_string(zmq.LAST_ENDPOINT))
        self._socket = HubSocket(sock, self._on_message, self._logger, guarded=secure is not None)
        self._timer = gevent.get_hub().loop.timer(PING_S, PING_S, ref=False)
        self._timer.start(self.look_for_the_gone)

    def close(self) -> None:
        """Cancel what runs and stop answering; idempotent."""
        if self._timer is not None:
            self._timer.close()
        self._timer = None
        for running in list(self._running.values()):
            running.cancel()
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def metrics(self) -> ControlMetrics:
        """A snapshot."""
        return ControlMetrics(self._messages, self._calls, self._refused, self._window.running)

    def look_for_the_gone(self) -> None:
        """Ping the callers of what runs; a timer does it every ``PING_S``."""
        now = time.monotonic()
        here: set[bytes] = set()
        for running in list(self._running.values()):
            peer = running.call.peer
            if peer not in here and not self._send(peer, PING):
                if running.streams and now - self._gone.setdefault(peer, now) >= GONE_S:
                    running.cancel()
            else:
                here.add(peer)
                self._gone.pop(peer, None)
        peers = {running.call.peer for running in self._running.values()}
        self._gone = {peer: since for peer, since in self._gone.items() if peer in peers}
        self._window.expire()

    # -- messages -------------------------------------------------------------------------------

    def _on_message(self, parts: list[bytes], user: str) -> None:
        self._messages += 1
        if len(parts) != 2:
            return
        peer, data = parts
        try:
            message = decode_message(data)
        except BusProtocolError as error:
            self._refuse(peer, number_in(data), error)
            return
        self._dispatch(peer, message, user)

    def _dispatch(self, peer: bytes, message: Message, user: str) -> None:
        known = self._window.find(message.id)
        if known is not None:
            self._window.hear(known, peer)
        match message:
            case CallMessage():
                if known is not None:
                    self._again(known)
                else:
                    self._begin(peer, message, user)
            case GrantMessage(_, had, until, again):
                if known is None:
                    if again:
                        self._send(peer, encode_answer(UnknownAnswer(message.id.number)))
                    return
                known.grant(had, until)
                if again:
                    self._again(known)
                self._wake(known)
            case CancelMessage():
                running = self._running.get(id(known))
                if running is not None:
                    running.cancel()

    def _begin(self, peer: bytes, message: CallMessage, user: str) -> None:
        deadline = None if message.deadline_ms is None else message.deadline_ms / 1000
        age = message.age_ms / 1000
        name, verb, args = str(message.id), message.verb, message.args
        try:
            role = self._role_of(user)
            found = self._verb(verb, role)
            known = self._window.begin(message.id, peer, age, message.credit)
        except BusError as error:
            if self._audit is not None:
                self._audit(Call(name, verb, args, None, user, deadline, age), type(error).__name__)
            self._refuse(peer, message.id.number, error)
            return
        self._calls += 1
        running = Running(known, found, self)
        self._running[id(known)] = running
        running.start(Call(name, verb, args, role, user, deadline, age))

    def _verb(self, name: str, role: Role) -> Verb:
        verb = self._verbs.get(name)
        if verb is None:
            raise BusProtocolError(f'"{name}" can not be called')
        if not role.allows(verb.role):
            raise BusForbiddenError(
                f'"{name}" needs the role {verb.role.value}, this key has {role.value}',
                verb=name,
                role=role.value,
                needed=verb.role.value,
            )
        return verb

    def _refuse(self, peer: bytes, number: int, error: BusError) -> None:
        self._refused += 1
        self._send(peer, self.error_answer(number, error))

    def _again(self, call: Remembered) -> None:
        for _, data in call.items:
            self._send(call.peer, data)
        if call.answer is not None:
            self._send(call.peer, call.answer)

    def _wake(self, call: Remembered) -> None:
        running = self._running.get(id(call))
        if running is not None:
            running.wake()

    def _send(self, peer: bytes, data: bytes) -> bool:
        """Whether the peer is connected; a full queue drops, its owner asks again."""
        if self._socket is None:
            return False
        try:
            self._socket.send([peer, data])
        except zmq.ZMQError:
            return False
        return True

    # -- for running calls ----------------------------------------------------------------------

    def recalled(self, call: Call) -> tuple[Any] | None:
        """What a call that comes again was answered; else it is about to run."""
        return self._recall(call) if call.age_s and self._recall is not None else None

    def item(self, call: Remembered, index: int, data: bytes) -> None:
        """A stream made an item, within its credit."""
        call.add_item(index, data)
        self._send(call.peer, data)

    def finish(self, call: Call, known: Remembered, answer: bytes, outcome: str) -> None:
        """A call has its answer."""
        if self._running.pop(id(known), None) is not None:
            if self._audit is not None:
                self._audit(call, outcome)
            self._send(known.peer, answer)  # before the rest: the caller goes on meanwhile
            self._window.answered(known, answer)

    def error_answer(self, number: int, error: BaseException) -> bytes:
        """What a caller gets for an exception."""
        apart = self._errors.take_apart(error)
        if apart is None:
            self._logger.error("bus: a call failed", exc_info=error)
            apart = "BusRemoteError", "the runtime failed; its log says how", {}
        return encode_answer(ErrorAnswer(number, *apart))


def _local_only(user: str) -> Role:
    if user:
        raise BusForbiddenError(f'the key "{user}" has no role here')
    return Role.ADMIN


def verbs(rows: Iterable[tuple[str, Verb]]) -> dict[str, Verb]:
    """A dispatch table.

    :raises ValueError: a name twice.
    """
    table: dict[str, Verb] = {}
    for name, verb in rows:
        if name in table:
            raise ValueError(f'"{name}" stands twice in the table')
        table[name] = verb
    return table
