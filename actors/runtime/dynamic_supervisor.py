"""A supervisor of many children that come and go, each known by its ref.

Rules it owns: ids may repeat, there is no order, and all children are ended at the same time;
at most ``max_children`` are there, those that wait to be restarted included; one that ended for
good is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self, cast

from .children import Child, ChildStatus
from .childspec import AutoShutdown, ChildSpec
from .errors import ChildNotFoundError, ChildSpecError, TooManyChildrenError
from .ref import GreenRef
from .restarts import RestartLimits, Verdict
from .supervising import Supervising
from .supervisor import Call, ChildCounts, ChildInfo, count, describe

__all__ = ["DynamicSupervisor", "DynamicSupervisorRef"]


class DynamicSupervisorRef(GreenRef["DynamicSupervisor"]):
    """The handle on a :class:`DynamicSupervisor`. Its calls block the caller, from any thread.

    ``timeout`` is seconds to wait for the answer (None: no limit); then ``pykka.Timeout`` is
    raised, and the call may still be carried out.
    """

    __slots__ = ()

    def start_child(self, spec: ChildSpec, timeout: float | None = None) -> GreenRef[Any] | None:
        """Start a child; None if it declined.

        :raises TooManyChildrenError: the supervisor is at its ``max_children``.
        :raises ChildSpecError: the child is significant, which means nothing here.
        :raises ChildStartError: it did not start.
        """
        return cast("GreenRef[Any] | None", self.ask(Call("start", spec), timeout=timeout))

    def terminate_child(self, ref: GreenRef[Any], timeout: float | None = None) -> None:
        """End a child and forget it; while it waits to be restarted, its last ref names it.

        :raises ChildNotFoundError: no child has that ref.
        """
        self.ask(Call("terminate", ref), timeout=timeout)

    def which_children(self, timeout: float | None = None) -> tuple[ChildInfo, ...]:
        """All children, in no order that means anything."""
        return cast("tuple[ChildInfo, ...]", self.ask(Call("which"), timeout=timeout))

    def count_children(self, timeout: float | None = None) -> ChildCounts:
        """How many children there are."""
        return cast("ChildCounts", self.ask(Call("count"), timeout=timeout))

    def configure(
        self,
        *,
        limits: RestartLimits | None = None,
        max_children: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Change what is not None; children that are there stay.

        :raises ChildSpecError: a value is not one it may be; nothing is changed.
        """
        self.ask(Call("configure", (limits, max_children)), timeout=timeout)


class DynamicSupervisor(Supervising):
    """Starts children on demand, restarts those that end or stall, and ends them with itself.

    :param max_children: None: no limit.
    :param extra_args: positional arguments every child's ``start`` gets before its own.
    :param options: those of :class:`Supervising`, but for ``auto_shutdown``.
    :raises ChildSpecError: an option is not one it may be.
    """

    __slots__ = ("_extra", "_max_children", "_table")

    def __init__(
        self,
        *,
        max_children: int | None = None,
        extra_args: tuple[Any, ...] = (),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if self._auto_shutdown is not AutoShutdown.NEVER:
            raise ChildSpecError("auto_shutdown", self._auto_shutdown)
        if not isinstance(extra_args, tuple):
            raise ChildSpecError("extra_args", extra_args)
        self._actor_ref = DynamicSupervisorRef(self)
        self._max_children = _checked_max(max_children)
        self._extra = extra_args
        self._table: dict[GreenRef[Any], Child] = {}

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> DynamicSupervisorRef:
        """See :meth:`GreenActor.start`."""
        return cast("DynamicSupervisorRef", super().start(*args, **kwargs))

    @classmethod
    def start_acknowledged(
        cls, *args: Any, timeout: float | None = None, **kwargs: Any
    ) -> DynamicSupervisorRef:
        """See :meth:`GreenActor.start_acknowledged`."""
        started = super().start_acknowledged(*args, timeout=timeout, **kwargs)
        return cast("DynamicSupervisorRef", started)

    @property
    def actor_ref(self) -> GreenRef[Self]:
        """The handle others hold on this actor, a :class:`DynamicSupervisorRef`."""
        return self._actor_ref

    def on_receive(self, message: Any) -> Any:
        """Answer a call, or see to a child."""
        match message:
            case Call("start", spec):
                return self._add(spec)
            case Call("terminate", ref):
                return self._terminate(ref)
            case Call("which"):
                return describe(self._table.values())
            case Call("count"):
                return count(self._table.values())
            case Call("configure", (limits, max_children)):
                return self._configure(limits, max_children)
            case _:
                return self.on_event(message)

    def _children(self) -> Iterable[Child]:
        return list(self._table.values())

    def _extra_args(self) -> tuple[Any, ...]:
        return self._extra

    def _add(self, spec: object) -> GreenRef[Any] | None:
        if not isinstance(spec, ChildSpec):
            raise ChildSpecError("spec", spec)
        if spec.significant:
            raise ChildSpecError("significant", True, spec.id)
        if self._max_children is not None and len(self._table) >= self._max_children:
            raise TooManyChildrenError(spec.id)
        child = Child(spec)
        self._start(child)
        if child.ref is not None:
            self._table[child.ref] = child
        return child.ref

    def _terminate(self, ref: GreenRef[Any]) -> None:
        child = self._table.get(ref)
        if child is None:
            raise ChildNotFoundError(ref)
        self._end([child])
        self._table.pop(ref, None)

    def _configure(self, limits: object, max_children: object) -> None:
        if limits is not None and not isinstance(limits, RestartLimits):
            raise ChildSpecError("limits", limits)
        if max_children is not None:
            self._max_children = _checked_max(max_children)
        if limits is not None:
            self._limits = limits

    def _dismiss(self, child: Child, verdict: Verdict) -> None:
        if child.ref is not None:
            self._table.pop(child.ref, None)

    def _end_all(self) -> None:
        self._end(list(self._table.values()), together=True)

    def _restart(self, child: Child) -> None:
        last = child.ref
        assert last is not None
        self._start(child)
        del self._table[last]
        if child.status is ChildStatus.RUNNING and child.ref is not None:
            self._table[child.ref] = child


def _checked_max(max_children: object) -> int | None:
    if max_children is None:
        return None
    if isinstance(max_children, bool) or not isinstance(max_children, int) or max_children < 0:
        raise ChildSpecError("max_children", max_children)
    return max_children
