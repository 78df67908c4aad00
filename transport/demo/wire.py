"""JSON-RPC 2.0 over two byte streams, one object a line, for a process of threads.

Owns the outgoing ids, the table of unanswered calls and the one condition on which turns wait.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

JSON = dict[str, Any]

LINE_BYTES_MAX = 10 * 1024 * 1024
"""The frame limit of the client (04 1.3); a longer line is not for us."""
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
NOT_FOUND = -32002


class RPCError(Exception):
    """A JSON-RPC error, ours or the client's."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data

    def to_json(self) -> JSON:
        """The ``error`` member of an answer."""
        body: JSON = {"code": self.code, "message": str(self)}
        if self.data is not None:
            body["data"] = self.data
        return body


class Call:
    """A request of ours and, once it came, its answer."""

    __slots__ = ("answer", "error", "key")

    def __init__(self, key: int) -> None:
        self.key = key
        self.answer: Any = None
        self.error: RPCError | None = None


class Connection:
    """Reads requests, writes answers, and matches the client's answers to our calls.

    :param reader: where the client's lines come from.
    :param writer: where ours go; written to under a lock, because turns are threads.
    """

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self.changed = threading.Condition()
        """Notified when an answer came, and by whoever cancels or steers a turn."""
        self._reader = reader
        self._writer = writer
        self._writing = threading.Lock()
        self._open: dict[int, Call] = {}
        self._last_id = 0

    def requests(self) -> Iterator[JSON]:
        """Requests and notifications of the client until end of input; answers are kept back."""
        while line := self._reader.readline(LINE_BYTES_MAX):
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if not isinstance(message, dict):
                continue
            if isinstance(message.get("method"), str):
                yield message
            elif "id" in message:
                self._settle(message)

    def _settle(self, message: JSON) -> None:
        with self.changed:
            call = self._open.pop(message["id"], None) if isinstance(message["id"], int) else None
            if call is None:
                return
            error = message.get("error")
            if isinstance(error, dict):
                call.error = RPCError(
                    error.get("code", INTERNAL_ERROR),
                    str(error.get("message", "")),
                    error.get("data"),
                )
            call.answer = message.get("result")
            self.changed.notify_all()

    def call(self, method: str, params: JSON) -> Call:
        """Send a request; :meth:`is_open` tells until when it is unanswered."""
        with self.changed:
            self._last_id += 1
            call = self._open[self._last_id] = Call(self._last_id)
        self._write({"id": call.key, "method": method, "params": params})
        return call

    def is_open(self, call: Call) -> bool:
        """Whether the answer is still to come. Hold :attr:`changed`."""
        return call.key in self._open

    def forget(self, call: Call) -> None:
        """Withdraw a request whose answer is no longer wanted."""
        with self.changed:
            still_open = self._open.pop(call.key, None) is not None
        if still_open:
            self.notify("$/cancel_request", {"requestId": call.key})

    def notify(self, method: str, params: JSON) -> None:
        """Send a notification."""
        self._write({"method": method, "params": params})

    def reply(self, request_id: Any, result: Any) -> None:
        """Answer a request with a result."""
        self._write({"id": request_id, "result": result})

    def fail(self, request_id: Any, error: RPCError) -> None:
        """Answer a request with an error."""
        self._write({"id": request_id, "error": error.to_json()})

    def _write(self, message: JSON) -> None:
        body = {"jsonrpc": "2.0", **message}
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        self.write_raw(text.encode("utf-8", "replace"))

    def write_raw(self, line: bytes) -> None:
        """Write one line as it is. A client that went away is noticed by the reader."""
        try:
            with self._writing:
                self._writer.write(line + b"\n")
                self._writer.flush()
        except OSError:
            pass
