"""A supervisor of named children in an order: OTP's three strategies and its calls.

Rules it owns: children start in the order given, each when the one before it has started, and end
in the reverse order; a temporary child is forgotten when it ends, every other is kept, running or
not, until it is deleted.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from .actor import GreenActor
from .children import Child, ChildStatus
from .childspec import ChildSpec, Restart, Strategy, checked
from .errors import (
    ChildExistsError,
    ChildNotFoundError,
    ChildSpecError,
    ChildStartError,
    ChildStateError,
)
from .ref import GreenRef
from .restarts import Verdict, affected
from .supervising import Supervising

__all__ = ["ChildCounts", "ChildInfo", "Supervisor", "SupervisorRef", "count", "describe"]


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One child as its supervisor sees it. ``ref``: None unless it is running."""

    id: Hashable
    ref: GreenRef[Any] | None
    status: ChildStatus
    actor_class: type[GreenActor] | None
    is_supervisor: bool


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """How many children: known (``specs``), running (``active``), and of which kind those are."""

    specs: int
    active: int
    supervisors: int
    workers: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a supervisor."""

    verb: str
    subject: Any = None


def describe(children: Iterable[Child]) -> tuple[ChildInfo, ...]:
    """What ``which_children`` answers."""
    return tuple(
        ChildInfo(
            child.spec.id,
            child.ref if child.running else None,
            child.status,
            _class_of(child),
            _supervises(child),
        )
        for child in children
    )


def count(children: Iterable[Child]) -> ChildCounts:
    """What ``count_children`` answers."""
    known = list(children)
    supervisors = sum(map(_supervises, known))
    return ChildCounts(
        specs=len(known),
        active=sum(child.running for child in known),
        supervisors=supervisors,
        workers=len(known) - supervisors,
    )


def _class_of(child: Child) -> type[GreenActor] | None:
    if child.ref is not None:
        return cast("type[GreenActor]", child.ref.actor_class)
    start = child.spec.start
    return start if isinstance(start, type) and issubclass(start, GreenActor) else None


def _supervises(child: Child) -> bool:
    actor_class = _class_of(child)
    return actor_class is not None and issubclass(actor_class, Supervising)


class SupervisorRef(GreenRef["Supervisor"]):
    """The handle on a :class:`Supervisor`. Its calls block the caller, from any thread.

    ``timeout`` is seconds to wait for the answer (None: no limit); then ``pykka.Timeout`` is
    raised, and the call may still be carried out.
    """

    __slots__ = ()

    def start_child(self, spec: ChildSpec, timeout: float | None = None) -> GreenRef[Any] | None:
        """Add a child behind the others and start it; None if it declined.

        :raises ChildExistsError: there is one of that id, running or not.
        :raises ChildStartError: it did not start; its spec is not kept.
        """
        return cast("GreenRef[Any] | None", self.ask(Call("start", spec), timeout=timeout))

    def terminate_child(self, child_id: Hashable, timeout: float | None = None) -> None:
        """End a child and do not restart it; it stays known unless it is temporary.

        :raises ChildNotFoundError: there is none of that id.
        """
        self.ask(Call("terminate", child_id), timeout=timeout)

    def restart_child(
        self, child_id: Hashable, timeout: float | None = None
    ) -> GreenRef[Any] | None:
        """Start a child that is stopped; None if it declined.

        :raises ChildNotFoundError: there is none of that id.
        :raises ChildStateError: it runs, or is being restarted.
        :raises ChildStartError: it did not start.
        """
        return cast("GreenRef[Any] | None", self.ask(Call("restart", child_id), timeout=timeout))

    def delete_child(self, child_id: Hashable, timeout: float | None = None) -> None:
        """Forget a child that is stopped.

        :raises ChildNotFoundError: there is none of that id.
        :raises ChildStateError: it runs, or is being restarted.
        """
        self.ask(Call("delete", child_id), timeout=timeout)

    def which_children(self, timeout: float | None = None) -> tuple[ChildInfo, ...]:
        """All children, in order of starting."""
        return cast("tuple[ChildInfo, ...]", self.ask(Call("which"), timeout=timeout))

    def count_children(self, timeout: float | None = None) -> ChildCounts:
        """How many children there are."""
        return cast("ChildCounts", self.ask(Call("count"), timeout=timeout))

    def child(self, child_id: Hashable, timeout: float | None = None) -> GreenRef[Any]:
        """The ref of a child that runs.

        :raises ChildNotFoundError: there is none of that id.
        :raises ChildStateError: it does not run.
        """
        return cast("GreenRef[Any]", self.ask(Call("child", child_id), timeout=timeout))


class Supervisor(Supervising):
    """Starts children, restarts those that end or stall, and ends them with itself.

    ``Supervisor.start_acknowledged(specs, strategy=...)`` returns when all children have started,
    and raises :class:`StartFailedError` when one did not (those before it are ended then).

    :param children: in order of starting.
    :param strategy: who else is restarted with a child.
    :param options: those of :class:`Supervising`.
    :raises ChildSpecError: two children have the same id, or an option is not one it may be.
    """

    __slots__ = ("_strategy", "_table")

    def __init__(
        self,
        children: Sequence[ChildSpec] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._actor_ref = SupervisorRef(self)
        self._strategy: Strategy = checked(Strategy, "strategy", strategy)
        self._table: dict[Hashable, Child] = {}
        for spec in children:
            if spec.id in self._table:
                raise ChildSpecError("id", spec.id)
            self._table[spec.id] = Child(spec)

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> SupervisorRef:
        """See :meth:`GreenActor.start`."""
        return cast("SupervisorRef", super().start(*args, **kwargs))

    @classmethod
    def start_acknowledged(
        cls, *args: Any, timeout: float | None = None, **kwargs: Any
    ) -> SupervisorRef:
        """See :meth:`GreenActor.start_acknowledged`; the children have started then."""
        return cast("SupervisorRef", super().start_acknowledged(*args, timeout=timeout, **kwargs))

    @property
    def actor_ref(self) -> GreenRef[Self]:
        """The handle others hold on this actor, a :class:`SupervisorRef`."""
        return self._actor_ref

    def on_start(self) -> None:
        """Start the children, in order.

        :raises ChildStartError: one did not start; those before it have been ended.
        """
        super().on_start()
        try:
            for child in list(self._table.values()):
                self._start(child)
                self._forget_if_declined(child)
        except ChildStartError:
            self._end_all()
            raise

    def on_receive(self, message: Any) -> Any:
        """Answer a call, or see to a child."""
        match message:
            case Call("start", spec):
                return self._add(spec)
            case Call("terminate", child_id):
                return self._terminate(self._child_of(child_id))
            case Call("restart", child_id):
                child = self._stopped(child_id)
                self._start(child)
                return child.ref if child.running else None
            case Call("delete", child_id):
                del self._table[self._stopped(child_id).spec.id]
                return None
            case Call("which"):
                return describe(self._table.values())
            case Call("count"):
                return count(self._table.values())
            case Call("child", child_id):
                child = self._child_of(child_id)
                if not child.running:
                    raise ChildStateError(child_id)
                return child.ref
            case _:
                return self.on_event(message)

    def _children(self) -> Iterable[Child]:
        return self._table.values()

    def _child_of(self, child_id: object) -> Child:
        child = self._table.get(child_id)
        if child is None:
            raise ChildNotFoundError(child_id)
        return child

    def _stopped(self, child_id: object) -> Child:
        child = self._child_of(child_id)
        if child.status is not ChildStatus.STOPPED:
            raise ChildStateError(child_id)
        return child

    def _add(self, spec: object) -> GreenRef[Any] | None:
        if not isinstance(spec, ChildSpec):
            raise ChildSpecError("spec", spec)
        if spec.id in self._table:
            raise ChildExistsError(spec.id)
        child = Child(spec)
        self._start(child)
        self._table[spec.id] = child
        self._forget_if_declined(child)
        return child.ref if child.running else None

    def _terminate(self, child: Child) -> None:
        self._end([child])
        self._forget_if_temporary(child)

    def _forget_if_temporary(self, child: Child) -> None:
        if child.spec.restart is Restart.TEMPORARY:
            self._table.pop(child.spec.id, None)

    def _forget_if_declined(self, child: Child) -> None:
        if not child.running:
            self._forget_if_temporary(child)

    def _dismiss(self, child: Child, verdict: Verdict) -> None:
        if verdict is Verdict.FORGET:
            del self._table[child.spec.id]

    def _end_all(self) -> None:
        self._end(list(reversed(self._table.values())))

    def _group(self, child: Child) -> list[Child]:
        ids = affected(self._strategy, list(self._table), child.spec.id)
        return [self._table[child_id] for child_id in ids]

    def _set_aside(self, child: Child) -> None:
        others = [other for other in self._group(child) if other is not child]
        self._end(list(reversed(others)))
        for other in others:
            self._forget_if_temporary(other)

    def _restart(self, child: Child) -> None:
        self._set_aside(child)
        child.ended()
        for other in self._group(child):
            self._start(other)

    def _failed(self, child: Child, error: ChildStartError) -> Child:
        return self._table[error.child_id]
