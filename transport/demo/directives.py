"""What a prompt asks the demo agent to do: its ``@@`` lines as data. Pure."""

from __future__ import annotations

from typing import NamedTuple

MARK = "@@"
COUNT_MAX = 10_000
"""Most chunks or tool calls one directive may ask for."""


class Directive(NamedTuple):
    """One step of a turn. Only the members its verb uses are set."""

    verb: str
    text: str = ""
    path: str = ""
    times: int = 0
    seconds: float = 0.0


USAGE = {
    "say": "@@say TEXT",
    "think": "@@think TEXT",
    "echo": "@@echo",
    "read": "@@read PATH",
    "write": "@@write PATH TEXT",
    "run": "@@run COMMAND",
    "tools": "@@tools N",
    "slow": "@@slow N SECONDS",
    "garbage": "@@garbage",
    "exit": "@@exit CODE",
    "hang": "@@hang",
    "deaf": "@@deaf",
}
"""Every verb and how it is written."""


def parse(prompt: str) -> list[Directive]:
    """The directives of a prompt, in order; none means: play the story.

    A line that looks like a directive but is not one becomes a ``say`` that explains it: the
    person at the other end should learn the vocabulary, not meet an error.
    """
    lines = (line.strip() for line in prompt.splitlines())
    return [_line(line, prompt) for line in lines if line.startswith(MARK)]


def _line(line: str, prompt: str) -> Directive:
    verb, _, rest = line[len(MARK) :].partition(" ")
    rest = rest.strip()
    first, _, tail = rest.partition(" ")
    try:
        match verb:
            case "say" | "think":
                return Directive(verb, text=rest)
            case "echo":
                return Directive(verb, text=rest or prompt)
            case "read" if rest:
                return Directive(verb, path=rest)
            case "write" if first:
                return Directive(verb, path=first, text=tail)
            case "run" if rest:
                return Directive(verb, text=rest)
            case "tools":
                return Directive(verb, times=_count(rest or "1"))
            case "slow":
                return Directive(verb, times=_count(first), seconds=max(0.0, float(tail or "1")))
            case "exit":
                return Directive(verb, times=int(rest or "0"))
            case "garbage" | "hang" | "deaf":
                return Directive(verb)
    except ValueError:
        pass
    known = USAGE.get(verb)
    hint = f"Write it as {known}." if known else f"I know {', '.join(USAGE.values())}."
    return Directive("say", text=f"I did not understand {line!r}. {hint}")


def _count(text: str) -> int:
    return max(0, min(int(text), COUNT_MAX))
