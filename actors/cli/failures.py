"""Errors as one line with the next step in it, and their exit codes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from ..errors import (
    AgentNotAvailableError,
    HomeInUseError,
    PromptInProgressError,
    SessionError,
    SessionNotFoundError,
    SessionValueError,
    WorkspaceNotFoundError,
    WorkspaceRootMissingError,
)

FAILED = 1
USAGE = 2
NOT_FOUND = 3
BUSY = 4
INTERRUPTED = 130

CODES: dict[type[SessionError], int] = {
    SessionValueError: USAGE,
    SessionNotFoundError: NOT_FOUND,
    AgentNotAvailableError: NOT_FOUND,
    WorkspaceNotFoundError: NOT_FOUND,
    WorkspaceRootMissingError: NOT_FOUND,
    HomeInUseError: BUSY,
    PromptInProgressError: BUSY,
}

P = ParamSpec("P")
R = TypeVar("R")


class OneLine(click.ClickException):
    """An error shown on one line, without a traceback."""

    exit_code: int  # type: ignore[misc]  # click declares it for the class

    def __init__(self, message: str, code: int) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = code

    def show(self, file: object = None) -> None:
        """Print the line on stderr."""
        click.echo(f"greenroom: {self.message}", err=True)


def one_line(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of our trees into one line each."""

    @functools.wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        from ...transport.bus.errors import BusError

        try:
            return command(*args, **kwargs)
        except SessionError as error:
            code = next((c for kind, c in CODES.items() if isinstance(error, kind)), FAILED)
            raise OneLine(str(error), code) from error
        except (BusError, TimeoutError) as error:
            raise OneLine(str(error), FAILED) from error
        except ExceptionGroup as group:
            told = "; ".join(str(error) for error in group.exceptions)
            raise OneLine(f"{group.message}: {told}", FAILED) from group
        except KeyboardInterrupt:
            raise OneLine("interrupted", INTERRUPTED) from None

    return call
