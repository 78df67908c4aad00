"""Events by the run: most of a turn are chunks that differ in their text and raw value only.

A run costs what one event costs, and each of its chunks a text; the events themselves are made for
those who look at them. Whoever does not care iterates :class:`Events` and meets events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, overload

from msgspec.structs import replace

from .event import AgentEvent, RawJSON

ReadRaw: TypeAlias = Callable[[RawJSON], bytes]


class TextRun:
    """Chunks of one type and one turn that follow each other; not changed once it was passed on.

    :param template: what they have in common: an event without text and raw value.
    :param texts: their texts.
    :param raws: their raw values.
    :param read_raw: gives the text of a raw value as it may be shown; ``None`` is as it is.
    """

    __slots__ = ("raws", "read_raw", "template", "texts")

    def __init__(
        self,
        template: AgentEvent,
        texts: list[str],
        raws: list[RawJSON | None],
        read_raw: ReadRaw | None = None,
    ) -> None:
        self.template = template
        self.texts = texts
        self.raws = raws
        self.read_raw = read_raw

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[AgentEvent]:
        template, read_raw = self.template, self.read_raw
        for text, raw in zip(self.texts, self.raws, strict=True):
            if raw is not None and read_raw is not None:
                raw = RawJSON(None, read_raw, raw)
            yield replace(template, text=text, raw=raw)

    def like(self, template: AgentEvent) -> TextRun:
        """The same texts in events like another."""
        return TextRun(template, self.texts, self.raws, self.read_raw)

    @property
    def last(self) -> AgentEvent:
        """The last event, without its raw value."""
        return replace(self.template, text=self.texts[-1])


Run: TypeAlias = AgentEvent | TextRun


class Events(Sequence[AgentEvent]):
    """Events in order, held by the run.

    :param runs: never empty ones.
    """

    __slots__ = ("_count", "runs")

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = tuple(runs)
        self._count = sum(len(run) if type(run) is TextRun else 1 for run in self.runs)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[AgentEvent]:
        for run in self.runs:
            if isinstance(run, TextRun):
                yield from run
            else:
                yield run

    @overload
    def __getitem__(self, index: int) -> AgentEvent: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[AgentEvent, ...]: ...
    def __getitem__(self, index: int | slice) -> AgentEvent | tuple[AgentEvent, ...]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Events | tuple):
            return NotImplemented
        return tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Events({list(self)!r})"


def of_runs(runs: Sequence[Run]) -> Sequence[AgentEvent]:
    """The events of runs; a plain tuple where each run is an event."""
    plain = [run for run in runs if not isinstance(run, TextRun)]
    return tuple(plain) if len(plain) == len(runs) else Events(runs)


def runs_of(events: Sequence[AgentEvent]) -> Sequence[Run]:
    """The runs of events; each event is one where they are not held by the run."""
    return events.runs if isinstance(events, Events) else events


def head_of(run: Run) -> AgentEvent:
    """What all events of a run have in common; a single event is its own."""
    return run.template if isinstance(run, TextRun) else run


def heads_of(events: Sequence[AgentEvent]) -> Iterator[AgentEvent]:
    """Of each run what its events have in common: enough for whoever does not read text."""
    return map(head_of, runs_of(events))


def kept(events: Sequence[AgentEvent]) -> Sequence[AgentEvent]:
    """The events as a value that nobody changes."""
    return events if isinstance(events, Events) else tuple(events)
