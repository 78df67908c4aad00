"""The command line: ``greenroom``.

Exit codes: 0 done, 1 the agent or the session failed, 2 wrong usage, 3 not found, 4 in use or busy,
130 interrupted.
"""

from __future__ import annotations

import logging
import sys


def main() -> None:
    """The console script; needs the ``cli`` extra."""
    try:
        import click  # noqa: F401
    except ImportError:
        sys.exit('greenroom: the command line needs its extra: pip install "greenroom[cli]"')
    from . import bus_commands, commands, session_commands  # noqa: F401 - they register theirs
    from .group import greenroom

    # What matters to the user of a command is its one line; `serve` has a log of its own.
    logging.getLogger("greenroom").addHandler(logging.NullHandler())
    greenroom(prog_name="greenroom")
