"""The pipes of one agent: bytes in, feed the client, act on its outputs, bytes out, set timers.

One owner of one :class:`AcpClient`, all in the hub's own greenlet. Rules it owns: reading stops
while the reader of events is behind, and a reader that stays behind loses the connection (D9);
nobody ever waits for a write (D8); outputs are handled in the order they were made, also when
handling one makes more.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from gevent.event import Event

from ..acp.client import AcpClient
from ..acp.outputs import Disconnected, Output, TimerArmed, TimerCancelled
from . import natives

READ_BYTES_MIN, READ_BYTES_MAX = 1024, 64 * 1024
READ_BUDGET_S = 0.002
"""What handling one read may take before reads get smaller: everybody waits that long."""
OUTGOING_BYTES_MAX = 32 * 1024 * 1024
"""Bytes that may wait for a deaf agent: three of the largest frames. More disconnects it."""
OUTGOING_BYTES_MARK = 1024 * 1024
"""Bytes from which on no further file is read for an agent that does not take them."""
FINAL_BYTES_MAX = 4 * 1024 * 1024
"""Read at most of what an agent left in the pipe when it ended; a pipe holds far less."""
READ_STALL_S = 10.0
READABLE, WRITABLE = 1, 2


class Link:
    """Connects one client to one child's stdin and stdout.

    :param stdin: non-blocking, written to; owned from here on, like the next.
    :param stdout: non-blocking, read from.
    :param loop: the loop of the hub.
    :param handle: gets every output that is not a timer's; must not block.
    :param at_eof: called once when the agent closed its end.
    :param read_stall_s: how long reading may stay paused.
    """

    def __init__(
        self,
        stdin: int,
        stdout: int,
        client: AcpClient,
        loop: Any,
        *,
        handle: Callable[[Output], None],
        at_eof: Callable[[], None],
        read_stall_s: float = READ_STALL_S,
    ) -> None:
        self.client = client
        self.ended = Event()
        """Set when nothing more will be read."""
        self.drained = Event()
        """Set while fewer than ``OUTGOING_BYTES_MARK`` bytes wait for the agent."""
        self.drained.set()
        self._stdin = stdin
        self._stdout = stdout
        self._loop = loop
        self._handle = handle
        self._at_eof = at_eof
        self._read_stall_s = read_stall_s
        self._reader = loop.io(stdout, READABLE)
        self._writer = loop.io(stdin, WRITABLE)
        self.read_bytes = READ_BYTES_MAX
        """Size of the next read."""
        self.heard_at = time.monotonic()
        """When the agent last wrote anything."""
        self._timers: dict[str, Any] = {}
        self._stall: Any = None
        self._outputs: deque[Output] = deque()
        self._handling = False
        self._outgoing: deque[memoryview] = deque()
        self._outgoing_bytes = 0
        self._stalled_at: float | None = None
        self._connected = True
        self._close_when_written = False
        self._final_bytes = -1

    def open(self) -> None:
        """Begin to read."""
        self._reader.start(self._on_readable)

    # ---- outputs

    def act(self, outputs: list[Output]) -> None:
        """Send what the client wants sent, then act on what it reported."""
        self._outputs.extend(outputs)
        self._send()
        if self._handling:
            return
        self._handling = True
        try:
            while self._outputs:
                self._act_on(self._outputs.popleft())
        finally:
            self._handling = False

    def _act_on(self, output: Output) -> None:
        match output:
            case TimerArmed(name, seconds):
                self._disarm(name)
                self._timers[name] = self._timer(seconds, self._on_timer, name)
            case TimerCancelled(name):
                self._disarm(name)
            case _:
                if isinstance(output, Disconnected):
                    self._disconnect()
                self._handle(output)

    def _timer(self, seconds: float, call: Callable[..., None], *args: Any) -> Any:
        timer = self._loop.timer(max(0.0, seconds))
        timer.start(call, *args, update=True)
        return timer

    def _disarm(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.stop()
            timer.close()

    def _on_timer(self, name: str) -> None:
        self._disarm(name)
        self.act(self.client.timer_fired(name))

    # ---- reading

    def _on_readable(self) -> None:
        try:
            data = os.read(self._stdout, self.read_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # an end like any other
            data = b""
        if not data:
            self._end_reading()
            self._at_eof()
            return
        if self._final_bytes >= 0:
            self._final_bytes += len(data)
            if self._final_bytes > FINAL_BYTES_MAX:
                self._end_reading()
        self.heard_at = time.monotonic()
        began = time.perf_counter()
        self._feed(data)
        # A chunk of tiny lines costs a hundred times one of large lines.
        spent = time.perf_counter() - began
        if spent > READ_BUDGET_S:
            self.read_bytes = max(READ_BYTES_MIN, self.read_bytes // 2)
        elif spent < READ_BUDGET_S / 4:
            self.read_bytes = min(READ_BYTES_MAX, self.read_bytes * 2)

    def _feed(self, data: bytes) -> None:
        try:
            outputs = self.client.receive_data(data)
        except Exception:
            # A defect of ours must not leave a session that nobody answers any more.
            self.fail("internal error while reading the agent's output")
            raise
        self.act(outputs)

    def _end_reading(self) -> None:
        self._reader.stop()
        self._cancel_stall()
        self.ended.set()

    def pause(self) -> None:
        """Stop reading: whoever takes the events is behind."""
        if self._stall is None and not self.ended.is_set() and self._final_bytes < 0:
            self._reader.stop()
            self._stall = self._timer(self._read_stall_s, self._on_stall)

    def resume(self) -> None:
        """Read on."""
        if self._stall is not None:
            self._cancel_stall()
            self._reader.start(self._on_readable)

    @property
    def is_paused(self) -> bool:
        """Whether reading is stopped by :meth:`pause`."""
        return self._stall is not None

    def _cancel_stall(self) -> None:
        stall, self._stall = self._stall, None
        if stall is not None:
            stall.stop()
            stall.close()

    def _on_stall(self) -> None:
        self.fail(f"the agent's events were not taken for {self._read_stall_s:g} s")

    def read_rest(self, seconds: float) -> None:
        """Wait for the end of the pipe of a process that is gone, whoever is behind (D31)."""
        self._final_bytes = 0
        self.resume()
        self.ended.wait(seconds)

    # ---- writing

    def _send(self) -> None:
        data = self.client.data_to_send()
        if not data or self._stdin < 0:
            return
        self._outgoing.append(memoryview(data))
        self._outgoing_bytes += len(data)
        if self._stalled_at is None:
            self._write()
        if self._outgoing_bytes >= OUTGOING_BYTES_MARK:
            self.drained.clear()
        if self._outgoing_bytes > OUTGOING_BYTES_MAX:
            self.fail("the agent does not read its input")

    def _write(self) -> None:
        while self._outgoing:
            chunk = self._outgoing[0]
            try:
                sent = os.write(self._stdin, chunk)
            except (BlockingIOError, InterruptedError):
                if self._stalled_at is None:
                    self._writer.start(self._write)
                    self._stalled_at = time.monotonic()
                return
            except OSError:
                # The agent is gone; the end of its output, or its exit, tells the rest.
                self._drop_outgoing()
                return
            if self._stalled_at is not None:
                self._stalled_at = time.monotonic()
            self._outgoing_bytes -= sent
            if sent < len(chunk):
                self._outgoing[0] = chunk[sent:]
            else:
                self._outgoing.popleft()
            if self._outgoing_bytes < OUTGOING_BYTES_MARK:
                self.drained.set()
        self._drop_outgoing()
        if self._close_when_written:
            self._close_stdin()

    def _drop_outgoing(self) -> None:
        self._outgoing.clear()
        self._outgoing_bytes = 0
        if self._stalled_at is not None:
            self._stalled_at = None
            self._writer.stop()
        self.drained.set()

    def close_writing(self) -> None:
        """Let the agent see the end of its input once it has taken what waits for it."""
        self._close_when_written = True
        if not self._outgoing:
            self._close_stdin()

    @property
    def waiting_bytes(self) -> int:
        """Bytes the agent has not taken yet."""
        return self._outgoing_bytes

    @property
    def write_stalled_s(self) -> float:
        """For how long the agent has taken nothing of what waits for it (D36)."""
        return 0.0 if self._stalled_at is None else time.monotonic() - self._stalled_at

    # ---- the end

    def fail(self, cause: str) -> None:
        """Give the connection up from our side; only the first end counts."""
        self.act(self.client.receive_eof(cause))
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connected:
            self._connected = False
            self._end_reading()
            self._drop_outgoing()
            self._close_stdin()

    def _close_stdin(self) -> None:
        stdin, self._stdin = self._stdin, -1
        if stdin >= 0:
            self._writer.stop()
            self._writer.close()
            natives.close(stdin)

    def close(self) -> None:
        """Give every descriptor and watcher back."""
        self._disconnect()
        for name in list(self._timers):
            self._disarm(name)
        self._reader.stop()
        self._reader.close()
        natives.close(self._stdout)
