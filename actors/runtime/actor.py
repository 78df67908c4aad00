"""The actor class: Pykka's ``Actor`` on gevent, with a bounded mailbox and contained crashes.

Rules it owns: starting costs no greenlet, no UUID and no ``threading.Event``; a start can wait
for ``on_start`` and fail with it (K5); which errors of an answer also end the actor is declared
by its class (K4).
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn, Self

from pykka import Actor, ActorDeadError, Timeout
from pykka.messages import _ActorStop

from . import census
from .cell import Cell, Probe
from .detours import Postponed
from .dispatcher import Dispatcher
from .errors import StartFailedError
from .future import GreenFuture
from .mailbox import Lane, MailboxPolicy
from .ref import GreenRef, StopFlag

__all__ = ["GreenActor"]


class GreenActor(Actor):
    """An actor on the gevent hub of the thread that starts it; otherwise as in Pykka.

    ``on_start``, ``on_receive``, ``on_stop`` and ``on_failure`` may block their greenlet as any
    gevent code may; the actor handles one message at a time all the same. The greenlet is lent
    for one callback: do not keep it, and cancel every ``gevent.Timeout`` that you start.

    Whatever a callback raises, ``GreenletExit``, ``gevent.Timeout`` and ``SystemExit`` included,
    ends this actor at most. In an answer to ``ask`` an ``Exception`` goes to the asker, and the
    actor lives on (Pykka's rule) unless :attr:`crash_on_ask_error` is set; any other
    ``BaseException`` ends it, and the asker gets :class:`pykka.ActorDeadError`.
    """

    __slots__ = ("_actor_ref", "actor_inbox")

    mailbox_bound: ClassVar[int | None] = None
    """Messages the work lane takes before it is full; None: no limit."""

    mailbox_policy: ClassVar[MailboxPolicy] = MailboxPolicy.RAISE
    """What a full work lane does to the next sender."""

    crash_on_ask_error: ClassVar[bool] = False
    """Whether an error raised in an ``ask`` ends the actor too, after the asker has got it."""

    reply_errors: ClassVar[tuple[type[BaseException], ...]] = ()
    """Errors that are answers: with :attr:`crash_on_ask_error` set, these go to the asker only."""

    outlives_grace: ClassVar[bool] = False
    """Whether a supervisor waits for its end without limit, unless its spec says otherwise."""

    actor_inbox: Cell
    _actor_ref: GreenRef[Any]

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        cell = self._create_actor_inbox()
        cell.adopt(self)
        self.actor_inbox = cell
        self._actor_ref = GreenRef(self)

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> GreenRef[Self]:
        """Make an actor, register it and let it run on the calling thread's hub.

        Arguments go to the constructor. ``on_start`` runs later, in the hub.

        :raises HubClosedError: the hub is closing.
        """
        actor = cls(*args, **kwargs)
        assert hasattr(actor, "_actor_ref"), (
            "Actor.__init__() have not been called. "
            "Did you forget to call super() in your override?"
        )
        actor.actor_inbox.inlet.check()
        ref = actor._actor_ref
        census.register(ref)
        actor._start_actor_loop()
        return ref

    @classmethod
    def start_acknowledged(
        cls, *args: Any, timeout: float | None = None, **kwargs: Any
    ) -> GreenRef[Self]:
        """:meth:`start`, and wait until ``on_start`` has returned.

        Blocks the calling greenlet.

        :param timeout: seconds; None waits for ever. An actor that is late is killed.
        :raises StartFailedError: ``on_start`` raised, or was late; the error is the cause.
        """
        ref = cls.start(*args, **kwargs)
        try:
            ref.ask(Probe(), timeout=timeout, lane=Lane.CONTROL)
        except Timeout as error:
            ref.kill()
            raise StartFailedError(ref.actor_urn) from error
        except ActorDeadError as error:
            raise StartFailedError(ref.actor_urn) from ref.actor_inbox.error or error
        except BaseException:  # the caller's greenlet is ended: nobody will have the ref
            ref.kill()
            raise
        return ref

    @property
    def actor_ref(self) -> GreenRef[Self]:
        """The handle others hold on this actor."""
        return self._actor_ref

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """The URN of this actor, unique in the world as Pykka's are."""
        return self.actor_inbox.urn

    @property
    def actor_stopped(self) -> StopFlag:  # type: ignore[override]
        """Whether this actor takes no more messages, as a flag."""
        return StopFlag(self.actor_inbox)

    def stop(self) -> None:
        """Ask this actor to stop after the messages it has got by now."""
        self.actor_ref.tell(_ActorStop(), lane=Lane.EXEMPT)

    def postpone(self) -> NoReturn:
        """Put the message being handled aside, for :meth:`release_postponed`; it has no effect yet.

        Ends the handler by raising, so it is the first thing a handler does with a message that
        does not fit its state. An ``ask`` stays unanswered until the message is handled.
        """
        raise Postponed

    def release_postponed(self) -> None:
        """Take up the postponed messages, in their order, before all other work.

        To be called when the state changes. Only in the actor's own hub thread.
        """
        self.actor_inbox.release_postponed()

    def beat(self) -> None:
        """Give a sign of life to a supervisor that watches for stalls. From any thread."""
        self.actor_inbox.beats += 1

    @staticmethod
    def _create_actor_inbox() -> Cell:
        return Cell(Dispatcher.current())

    @staticmethod
    def _create_future() -> GreenFuture[Any]:
        return GreenFuture()

    def _start_actor_loop(self) -> None:
        self.actor_inbox.start()
