"""One running prompt: what it shows, what it asks of the client, and how it is interrupted.

The turn runs in a thread of its own and waits in exactly one way, :meth:`Turn._until`; cancel is
therefore obeyed wherever it waits. The thread that reads the input cancels and steers it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from .command import Command
from .memory import Conversation
from .wire import JSON, Connection, RPCError

CHUNK_WORDS = 3
SHOWN_CHARS_MAX = 16_000
"""Of a file or of a command's output, shown in a tool call."""
STEERING_MAX = 16
"""Steering texts waiting to be taken; more are refused as if no turn ran."""
CONTEXT_TOKENS = 200_000
PERMISSION_OPTIONS = [
    {"optionId": "once", "name": "Allow once", "kind": "allow_once"},
    {"optionId": "always", "name": "Always allow in this session", "kind": "allow_always"},
    {"optionId": "no", "name": "Not this time", "kind": "reject_once"},
    {"optionId": "never", "name": "Never in this session", "kind": "reject_always"},
]


class Cancelled(Exception):
    """The client cancelled the turn."""


class Turn:
    """One prompt of a conversation.

    :param pace: seconds between two chunks.
    :param client_files: ``readTextFile`` and ``writeTextFile``, whichever the client serves.
    """

    def __init__(
        self,
        connection: Connection,
        conversation: Conversation,
        *,
        prompt: str,
        pace: float,
        client_files: frozenset[str],
    ) -> None:
        self.conversation = conversation
        self.prompt = prompt
        self.connection = connection
        self._pace = pace
        self._client_files = client_files
        self._cancelled = False
        self._ended = False
        self._steering: deque[str] = deque()
        self._command: Command | None = None
        self._tools = 0

    # ---- called by the reading thread

    def cancel(self) -> None:
        """End the turn at its next wait; a running command is killed."""
        with self.connection.changed:
            self._cancelled = True
            if self._command is not None:
                self._command.kill()
            self.connection.changed.notify_all()

    def steer(self, text: str) -> bool:
        """Hand a text to the running turn; ``False`` when it is too late for that."""
        with self.connection.changed:
            if self._ended or self._cancelled or len(self._steering) >= STEERING_MAX:
                return False
            self._steering.append(text)
            self.connection.changed.notify_all()
            return True

    # ---- waiting

    def _until(self, done: Callable[[], bool], seconds: float | None = None) -> None:
        with self.connection.changed:
            self.connection.changed.wait_for(lambda: self._cancelled or done(), seconds)
            if self._cancelled:
                raise Cancelled

    def pause(self, seconds: float) -> None:
        """Let time pass.

        :raises Cancelled: the client cancelled; so do all methods below that wait.
        """
        if seconds > 0 or self._cancelled:
            self._until(lambda: False, seconds)

    def await_steering(self) -> None:
        """Wait for steering, for ever."""
        self._until(lambda: bool(self._steering))

    def take_steering(self) -> Iterator[str]:
        """The texts that wait now, oldest first."""
        while self._steering:
            yield self._steering.popleft()

    def finish(self) -> bool:
        """Close the turn for steering; ``False`` when some came first and must be taken."""
        with self.connection.changed:
            self._ended = not self._steering
            return self._ended

    def ask(self, method: str, params: JSON) -> Any:
        """Ask the client and wait for the answer.

        :raises RPCError: it answered with an error.
        """
        call = self.connection.call(method, {"sessionId": self.conversation.session_id, **params})
        try:
            self._until(lambda: not self.connection.is_open(call))
        except Cancelled:
            self.connection.forget(call)
            raise
        if call.error is not None:
            raise call.error
        return call.answer

    # ---- showing

    def update(self, kind: str, /, **members: Any) -> None:
        """One ``session/update``."""
        self.connection.notify(
            "session/update",
            {
                "sessionId": self.conversation.session_id,
                "update": {"sessionUpdate": kind, **members},
            },
        )

    def say(self, text: str) -> None:
        """Stream a piece of the answer, and remember it."""
        for chunk in _chunks(text):
            self.conversation.add("agent", chunk)
            self._chunk("agent_message_chunk", chunk)

    def think(self, text: str) -> None:
        """Stream a thought."""
        for chunk in _chunks(text):
            self._chunk("agent_thought_chunk", chunk)

    def _chunk(self, kind: str, text: str) -> None:
        self.update(kind, content={"type": "text", "text": text})
        self.pause(self._pace)

    def plan(self, steps: tuple[str, ...], done: int) -> None:
        """Show the plan with the first ``done`` steps behind us."""
        status = ["completed"] * done + ["in_progress"] + ["pending"] * len(steps)
        self.update(
            "plan",
            entries=[
                {"content": step, "priority": "medium", "status": status[index]}
                for index, step in enumerate(steps)
            ],
        )

    def report_usage(self) -> None:
        """Show how full the context is; the conversation's size stands in for tokens."""
        used = sum(len(text) for _, text in self.conversation.entries) // 4
        self.update("usage_update", used=min(used, CONTEXT_TOKENS), size=CONTEXT_TOKENS)

    # ---- tools

    def _announce(self, title: str, kind: str, **members: Any) -> JSON:
        self._tools += 1
        call = {
            "toolCallId": f"call-{self.conversation.turns}-{self._tools}",
            "title": title,
            "kind": kind,
            "status": "pending",
            **members,
        }
        self.update("tool_call", **call)
        self.conversation.add("tool", title)
        self.pause(self._pace)
        return call

    def _progress(self, call: JSON, status: str, text: str = "") -> None:
        members: JSON = {"toolCallId": call["toolCallId"], "status": status}
        if text:
            shown = text if len(text) <= SHOWN_CHARS_MAX else "...\n" + text[-SHOWN_CHARS_MAX:]
            block = {"type": "text", "text": shown}
            members["content"] = [{"type": "content", "content": block}]
        self.update("tool_call_update", **members)

    def read(self, path: str) -> str | None:
        """Read a file through the client; ``None`` when that failed, and the tool call says why."""
        call = self._announce(
            f"Read {path}", "read", locations=[{"path": path}], rawInput={"path": path}
        )
        self._progress(call, "in_progress")
        try:
            if "readTextFile" in self._client_files:
                answer = self.ask("fs/read_text_file", {"path": path})
                text = str(answer["content"])
            else:
                with open(path, encoding="utf-8", errors="replace") as file:
                    text = file.read(SHOWN_CHARS_MAX)
        except (RPCError, OSError, TypeError, KeyError) as error:
            self._progress(call, "failed", str(error) or "the client gave no content")
            return None
        self._progress(call, "completed", text)
        return text

    def write(self, path: str, text: str) -> bool:
        """Write a file through the client, if that is permitted."""
        call = self._announce(
            f"Write {path}",
            "edit",
            locations=[{"path": path}],
            rawInput={"path": path, "content": text},
        )
        if not self._permitted(call):
            return False
        try:
            if "writeTextFile" in self._client_files:
                self.ask("fs/write_text_file", {"path": path, "content": text})
            else:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
        except (RPCError, OSError) as error:
            self._progress(call, "failed", str(error))
            return False
        diff = {"type": "diff", "path": path, "newText": text}
        self.update(
            "tool_call_update",
            toolCallId=call["toolCallId"],
            status="completed",
            content=[diff],
        )
        return True

    def run(self, command: str) -> int | None:
        """Run a shell command in the workspace; ``None`` when it was not permitted."""
        call = self._announce(f"`{command}`", "execute", rawInput={"command": command})
        if not self._permitted(call):
            return None
        self._progress(call, "in_progress")
        with self.connection.changed:
            if self._cancelled:
                raise Cancelled
            running = self._command = Command(command, self.conversation.cwd)
        output = ""
        try:
            for piece in running.output():
                output = (output + piece)[-2 * SHOWN_CHARS_MAX :]
                self._progress(call, "in_progress", output)
                self.pause(self._pace)
            self.pause(0)
            status = running.wait()
        finally:
            with self.connection.changed:
                self._command = None
            running.close()
        verdict = "completed" if status == 0 else "failed"
        self._progress(call, verdict, output or f"(no output, exit status {status})")
        return status

    def _permitted(self, call: JSON) -> bool:
        if self.conversation.mode == "auto":
            return True
        chosen = self.conversation.standing
        if not chosen:
            question = {"toolCall": call, "options": PERMISSION_OPTIONS}
            answer = self.ask("session/request_permission", question)
            outcome = answer.get("outcome") if isinstance(answer, dict) else None
            chosen = outcome.get("optionId", "") if isinstance(outcome, dict) else ""
        if chosen in ("always", "never"):
            self.conversation.standing = chosen
        if chosen in ("once", "always"):
            return True
        self._progress(call, "failed", "You did not allow this.")
        return False


def _chunks(text: str) -> Iterator[str]:
    words = text.split(" ")
    for start in range(0, len(words), CHUNK_WORDS):
        tail = " " if start + CHUNK_WORDS < len(words) else ""
        yield " ".join(words[start : start + CHUNK_WORDS]) + tail
