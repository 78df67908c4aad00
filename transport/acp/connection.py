"""The two tables of a JSON-RPC connection: our open requests and the agent's (04 3).

Lines are handled strictly in order by one caller, so an answer can not overtake the notifications
before it (04 3.5). Bytes to write pile up until they are drained; the one who drains bounds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ...actors.errors import RequestError
from . import jsonrpc
from .jsonrpc import Id, Request, Response
from .options import FRAME_BYTES_MAX, INBOUND_REQUESTS_MAX

Purpose = TypeVar("Purpose")


@dataclass(frozen=True, slots=True)
class InboundCall:
    """A request of the agent that waits for our answer."""

    key: int
    id: Id
    raw_id: bytes
    method: str
    params: bytes


class Connection(Generic[Purpose]):
    """Requests, answers and the bytes to write.

    A *purpose* says what one of our requests was for; its answer comes back with it.

    :param inbound_max: requests of the agent open at the same time (D11).
    :param frame_bytes_max: no longer line is written (D8).
    """

    def __init__(
        self,
        inbound_max: int = INBOUND_REQUESTS_MAX,
        frame_bytes_max: int = FRAME_BYTES_MAX,
    ) -> None:
        self._inbound_max = inbound_max
        self._frame_bytes_max = frame_bytes_max
        self._last_id = 0
        self._last_key = 0
        self._pending: dict[Id, Purpose] = {}
        self._inbound: dict[int, InboundCall] = {}
        self._keys: dict[Id, int] = {}
        self._out: list[bytes] = []
        self.closed = False

    # ---- bytes

    def data_to_send(self) -> bytes:
        """What is to be written now; empty after the connection closed."""
        data, self._out = b"".join(self._out), []
        return data

    def _write(self, line: bytes) -> bool:
        if self.closed or len(line) > self._frame_bytes_max:
            return False
        self._out.append(line)
        return True

    # ---- our requests

    def request(self, method: str, params: Any, purpose: Purpose) -> int:
        """Send a request; its id.

        :raises RequestError: the line would be over the limit (nothing was sent), or the
            connection is closed.
        """
        if self.closed:
            raise jsonrpc.rpc_error(jsonrpc.INTERNAL_ERROR, jsonrpc.PEER_GONE)
        request_id = self._last_id + 1
        if not self._write(jsonrpc.encode_request(request_id, method, params)):
            raise jsonrpc.rpc_error(
                jsonrpc.INTERNAL_ERROR, f"{method} is longer than {self._frame_bytes_max} bytes"
            )
        self._last_id = request_id
        self._pending[request_id] = purpose
        return request_id

    def notify(self, method: str, params: Any) -> None:
        """Send a notification."""
        self._write(jsonrpc.encode_notification(method, params))

    def take_response(self, response: Response) -> Purpose | None:
        """What the answer is for; ``None`` for an unknown, repeated or forgotten id."""
        return self._pending.pop(response.id, None)

    def forget(self, request_id: int) -> None:
        """Wait no longer for an answer; one that comes is ignored."""
        self._pending.pop(request_id, None)

    # ---- the agent's requests

    def take_request(self, request: Request) -> InboundCall | None:
        """Open the call, or answer it at once: too many, or the id is in use (D11)."""
        if request.id in self._keys:
            self.refuse(request.raw_id, jsonrpc.rpc_error(jsonrpc.INVALID_REQUEST, "id is in use"))
            return None
        if len(self._inbound) >= self._inbound_max:
            self.refuse(
                request.raw_id,
                jsonrpc.rpc_error(jsonrpc.INTERNAL_ERROR, "too many concurrent requests"),
            )
            return None
        self._last_key += 1
        call = InboundCall(
            self._last_key, request.id, request.raw_id, request.method, request.params
        )
        self._inbound[call.key] = call
        self._keys[call.id] = call.key
        return call

    def refuse(self, raw_id: bytes, error: RequestError) -> None:
        """Answer a request that was never opened."""
        self._write(jsonrpc.encode_error(raw_id, error))

    def find(self, request_id: Id) -> InboundCall | None:
        """The open call of that id, for ``$/cancel_request``."""
        key = self._keys.get(request_id)
        return None if key is None else self._inbound[key]

    def is_open(self, key: int) -> bool:
        """Whether a call still waits for our answer."""
        return key in self._inbound

    def answer(self, key: int, result: Any) -> bool:
        """Answer an open call; ``False`` when the key is not open."""
        call = self._close(key)
        if call is None:
            return False
        if not self._write(jsonrpc.encode_result(call.raw_id, result)):
            too_long = f"answer is longer than {self._frame_bytes_max} bytes"
            self.refuse(call.raw_id, jsonrpc.rpc_error(jsonrpc.INTERNAL_ERROR, too_long))
        return True

    def answer_error(self, key: int, error: RequestError) -> bool:
        """Refuse an open call; ``False`` when the key is not open."""
        call = self._close(key)
        if call is None:
            return False
        self._write(jsonrpc.encode_error(call.raw_id, error))
        return True

    def _close(self, key: int) -> InboundCall | None:
        call = self._inbound.pop(key, None)
        if call is not None:
            del self._keys[call.id]
        return call

    # ---- the end

    def disconnect(self) -> tuple[list[Purpose], list[InboundCall]]:
        """Close; the purposes that will get no answer, and the calls nobody waits for now."""
        self.closed = True
        waiting, calls = list(self._pending.values()), list(self._inbound.values())
        self._pending.clear()
        self._inbound.clear()
        self._keys.clear()
        self._out.clear()
        return waiting, calls
