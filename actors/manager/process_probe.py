"""Whether a process is there (01 17)."""

from __future__ import annotations

import os


def process_alive(pid: int) -> bool:
    """Whether a process of that id runs; one we may not signal does."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
