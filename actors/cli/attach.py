"""``greenroom attach``: type while the session works.

Two threads bring what happens, lines typed and events stored, to one inbox; all else is done by
the reader of the inbox, one thing after the other.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from ...transport.bus.errors import BusError
from ...transport.bus.subscriber import Subscriber
from ..errors import SessionError
from ..manager.handle import Session
from ..manager.manager import SessionManager
from ..manager.options import default_home
from ..manager.remote import RemoteSession
from ..model.event import SessionEvent
from ..model.settings import LIFECYCLE_TIMEOUT
from ..model.turn import SendPromptResult
from .connection import Manager, any_manager
from .rendering import Renderer
from .typed import Typed, Verb, help_lines, understand
from .watched import Watched, fold

AnySession = Session | RemoteSession
END = None
"""There will be no more lines."""


def attach(*, home: Path | None, session_id: str, last: int) -> None:
    """Show the last events of a session, then go on showing and sending until left.

    A stored session is resumed; where no runtime has the home, by one that ends with the command.
    """
    with any_manager(home) as manager:
        session = manager.get(session_id) or manager.resume(session_id)
        try:
            _Attached(manager, session, home or default_home()).run(last)
        finally:
            if isinstance(manager, SessionManager) and manager.get(session.id) is not None:
                session.stop(timeout=2 * LIFECYCLE_TIMEOUT)


class _Attached:
    """One person at one session."""

    def __init__(self, manager: Manager, session: AnySession, home: Path) -> None:
        self._manager = manager
        self._session = session
        self._home = home
        self._inbox: queue.SimpleQueue[SessionEvent | str | BaseException | None] = (
            queue.SimpleQueue()
        )
        self._renderer = Renderer()
        self._seen = Watched()
        self._left = False
        self._no_more_lines = False

    def run(self, last: int) -> None:
        """Until the session is stopped, it is left, or all was done that was piped in."""
        for row in self._session.events(limit=last) if last else ():
            self._show(row)
        after = self._seen.shown if last and self._seen.shown != (0, 0) else Subscriber.NOW
        click.secho(f"attached to {self._session.id}; :help tells more", dim=True, err=True)
        with (
            Subscriber(self._home, session_id=self._session.id, after=after) as subscriber,
            _terminal(lambda: self._seen.status) as (read_line, repaint),
        ):
            for produce in (lambda: self._follow(subscriber), lambda: self._read(read_line)):
                threading.Thread(target=produce, daemon=True).start()
            while not self._over():
                try:
                    self._take(self._inbox.get())
                except KeyboardInterrupt:  # typed between two lines, or there is no terminal
                    if not sys.stdin.isatty():
                        raise
                    self._do(understand(":cancel"))
                repaint()
        if not self._seen.stopped:
            click.secho(f"go on with: greenroom attach {self._session.id}", dim=True, err=True)

    def _follow(self, subscriber: Subscriber) -> None:
        try:
            subscriber.run(self._inbox.put)
        except BusError as error:
            self._inbox.put(error)

    def _read(self, read_line: Callable[[], str | None]) -> None:
        line: str | None = ""
        while line is not END:
            line = read_line()
            self._inbox.put(line)

    def _take(self, item: SessionEvent | str | BaseException | None) -> None:
        match item:
            case SessionEvent():
                self._show(item)
            case str():
                self._do(understand(item, self._seen.asked))
            case BaseException():
                raise item
            case _:
                self._no_more_lines = True

    def _over(self) -> bool:
        if self._left or self._seen.stopped:
            return True
        return self._no_more_lines and (sys.stdin.isatty() or self._is_done())

    def _is_done(self) -> bool:
        """Whether all that was sent is done and shown."""
        waiting = self._manager.input_queue_summary(self._session.id).pending_inputs
        if waiting or self._session.is_prompting:
            return False
        stored = self._session.events(limit=1)
        return not stored or stored[-1].cursor <= self._seen.shown

    def _show(self, row: SessionEvent) -> None:
        before = self._seen.asked
        self._seen = fold(self._seen, row)
        self._renderer.show(row.event)
        if self._seen.asked and self._seen.asked != before:
            _say(self._seen.status)

    def _do(self, typed: Typed) -> None:
        try:
            self._call(typed)
        except (SessionError, BusError, TimeoutError) as error:
            _say(f"greenroom: {' '.join(str(error).split())}")

    def _call(self, typed: Typed) -> None:
        session = self._session
        match typed.verb:
            case Verb.SEND:
                _tell(session.send_prompt(typed.text, mode=typed.mode))
            case Verb.STEER:
                _tell(session.steer(typed.text))
            case Verb.INTERRUPT if typed.text:
                _tell(session.send_prompt(typed.text, mode=typed.mode))
            case Verb.INTERRUPT:
                _tell(session.interrupt())
            case Verb.CANCEL:
                session.cancel()
            case Verb.ANSWER:
                session.approve(decision=typed.decision, request_id=typed.request_id)
            case Verb.STATUS:
                waiting = self._manager.input_queue_summary(session.id).pending_inputs
                _say(f"{session.id} {session.state}, {self._seen.status}, {waiting} queued")
            case Verb.STOP:
                session.stop(timeout=2 * LIFECYCLE_TIMEOUT)
            case Verb.DETACH:
                self._left = True
            case Verb.HELP:
                _say("\n".join(help_lines()))
            case Verb.MISTAKE:
                _say(typed.text)


def _tell(result: SendPromptResult) -> None:
    """Say what became of the input, unless it simply began: that is seen."""
    if result.events is not None:
        result.events.close()
        return
    place = f" at position {result.queue_position}" if result.queue_position else ""
    _say(f"{result.status}{place}")


def _say(text: str) -> None:
    click.secho(text, dim=True)


@contextlib.contextmanager
def _terminal(
    status: Callable[[], str],
) -> Iterator[tuple[Callable[[], str | None], Callable[[], None]]]:
    """Where lines are typed: an edited line below the events, or a pipe.

    :returns: what reads a line, and what shows the status anew.
    """
    if not sys.stdin.isatty():
        yield lambda: sys.stdin.readline() or END, lambda: None
        return
    from prompt_toolkit import PromptSession
    from prompt_toolkit.patch_stdout import patch_stdout

    typed: PromptSession[str] = PromptSession("> ", bottom_toolbar=status)

    def read_line() -> str | None:
        try:
            return typed.prompt()
        except KeyboardInterrupt:
            return ":cancel"
        except EOFError:
            return END

    with patch_stdout(raw=True):
        try:
            yield read_line, typed.app.invalidate
        finally:
            app = typed.app
            if app.is_running and app.loop is not None:
                app.loop.call_soon_threadsafe(lambda: app.exit(exception=EOFError()))
