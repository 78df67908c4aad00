"""What a turn does: the directives of its prompt, or else the story a stranger sees first."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from .directives import Directive, parse
from .turn import Turn

LISTED_MAX = 200
"""Directory entries looked at when searching for a file to read."""
FIRST_CHOICES = ("README.md", "README.rst", "README.txt", "README")
PLAN = ("Look around the workspace", "Answer you", "Run one command, if you let me", "Sum up")
LIST_COMMAND = "ls -la"


def perform(turn: Turn) -> None:
    """Play the prompt, and whatever it is steered to meanwhile, to the end."""
    directives = parse(turn.prompt)
    for _ in _perform_all(turn, directives) if directives else _story(turn):
        _react(turn)
    while not turn.finish():
        _react(turn)


def _react(turn: Turn) -> None:
    """Take the steering that came during the last step."""
    for text in turn.take_steering():
        turn.conversation.add("user", text)
        turn.say(f"\n\nYou steered me: {text}\n\n")
        for _ in _perform_all(turn, parse(text)):
            _react(turn)


def _perform_all(turn: Turn, directives: list[Directive]) -> Iterator[None]:
    for directive in directives:
        yield from _perform(turn, directive)


def _perform(turn: Turn, directive: Directive) -> Iterator[None]:
    """Do one directive; each ``yield`` is a point where steering may come in."""
    match directive.verb:
        case "say" | "echo":
            turn.say(directive.text)
        case "think":
            turn.think(directive.text)
        case "read":
            turn.read(_absolute(turn, directive.path))
        case "write":
            turn.write(_absolute(turn, directive.path), directive.text)
        case "run":
            turn.run(directive.text)
        case "tools":
            yield from _read_often(turn, directive.times)
        case "slow":
            for number in range(1, directive.times + 1):
                turn.say(f"{number} of {directive.times}\n")
                turn.pause(directive.seconds)
                yield
        case "garbage":
            turn.connection.write_raw(b"this line is not JSON {")
        case "exit":
            sys.stdout.flush()
            os._exit(directive.times & 0xFF)
        case "hang":
            while True:
                turn.await_steering()
                yield
    yield


def _read_often(turn: Turn, times: int) -> Iterator[None]:
    path = _absolute(turn, _something_to_read(turn.conversation.cwd) or "README.md")
    for _ in range(times):
        turn.read(path)
        yield


def _absolute(turn: Turn, path: str) -> str:
    return os.path.join(turn.conversation.cwd, path)


def _something_to_read(cwd: str) -> str | None:
    """The README, else the first ordinary text file by name, else nothing."""
    try:
        with os.scandir(cwd) as found:
            names = sorted(
                entry.name
                for _, entry in zip(range(LISTED_MAX), found, strict=False)
                if entry.is_file() and not entry.name.startswith(".")
            )
    except OSError:
        return None
    for name in FIRST_CHOICES:
        if name in names:
            return name
    return names[0] if names else None


def _story(turn: Turn) -> Iterator[None]:
    turn.think("Somebody is here. Let me see where I am before I say anything clever.")
    turn.plan(PLAN, done=0)
    yield
    name = _something_to_read(turn.conversation.cwd)
    text = turn.read(_absolute(turn, name)) if name else None
    yield
    turn.plan(PLAN, done=1)
    turn.say(_greeting(turn))
    turn.say(_about_file(name, text))
    turn.say(_about_prompt(turn.prompt))
    yield
    turn.plan(PLAN, done=2)
    turn.say(f"Next I would like to run `{LIST_COMMAND}` here. That needs your permission.\n\n")
    yield
    status = turn.run(LIST_COMMAND)
    yield
    turn.plan(PLAN, done=3)
    turn.say(_summary(turn, name if text is not None else None, status))
    turn.report_usage()
    turn.plan(PLAN, done=4)
    yield


def _greeting(turn: Turn) -> str:
    if turn.conversation.turns > 1:
        return f"Welcome back: this is prompt number {turn.conversation.turns} between us.\n\n"
    return (
        "Hello! I am the demo agent of greenroom. There is no model behind me and no network,"
        " only a small program that speaks the Agent Client Protocol, so that you can watch a"
        " session work.\n\n"
    )


def _about_file(name: str | None, text: str | None) -> str:
    if name is None:
        return "The workspace is empty, so there was nothing for me to read.\n\n"
    if text is None:
        return f"I saw {name} but was not able to read it.\n\n"
    lines = [line.strip() for line in text.splitlines() if line.strip(" #=-\t")]
    opening = f' and opens with "{lines[0].lstrip("# ")[:80]}"' if lines else " and is empty"
    return f"I read {name}: it has {len(text.splitlines())} lines{opening}.\n\n"


def _about_prompt(prompt: str) -> str:
    words = [word for word in (raw.strip(".,;:!?\"'()") for raw in prompt.split()) if word]
    if not words:
        return "You said nothing at all, which I take as trust.\n\n"
    longest = max(words, key=len)
    return (
        f'You wrote {len(words)} words; the longest is "{longest[:60]}". An agent with a model'
        " would do something about them. I only count.\n\n"
    )


def _summary(turn: Turn, name: str | None, status: int | None) -> str:
    ran = {
        None: "left the command alone, as you wished",
        0: f"ran `{LIST_COMMAND}`",
    }.get(status, f"ran `{LIST_COMMAND}`, which ended with status {status}")
    did = f"read {name} and {ran}" if name else ran
    return (
        f"\n\nThat was all: I {did}. While I work you can steer, interrupt or cancel me; write"
        " lines such as `@@slow 20 0.5`, `@@run date` or `@@read README.md` to choose what I do."
    )
