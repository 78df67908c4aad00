"""Which paths lie inside a session's directories: the lexical half of confinement (04 5.3).

Nothing here looks at a file system, so symlinks are not seen. A path that passes is *named* inside
the roots; whoever opens it must still check where it leads (D20).
"""

from __future__ import annotations

from collections.abc import Iterable

from ...actors.errors import InvalidPathError, PathOutsideWorkspaceError


def clean(path: str) -> str:
    """An absolute path without empty, ``.`` and ``..`` components; ``..`` of ``/`` is ``/``."""
    parts: list[str] = []
    for part in path.split("/"):
        match part:
            case "" | ".":
                continue
            case "..":
                del parts[-1:]
            case _:
                parts.append(part)
    return "/" + "/".join(parts)


def is_inside(path: str, root: str) -> bool:
    """Whether a clean path is the clean root or below it; ``/`` contains everything."""
    return root == "/" or path == root or path.startswith(root + "/")


def locate(path: str, roots: Iterable[str]) -> str:
    """The clean absolute form of ``path``; a relative one starts at the first root.

    :param roots: absolute directories, the primary one first.
    :raises InvalidPathError: blank, or with a NUL byte.
    :raises PathOutsideWorkspaceError: it names a place outside every root.
    """
    trimmed = path.strip()
    if not trimmed:
        raise InvalidPathError("path is blank", path=path)
    if "\0" in trimmed:
        raise InvalidPathError("path holds a NUL byte", path=path)
    cleaned_roots = [clean(root) for root in roots]
    absolute = trimmed if trimmed.startswith("/") else f"{cleaned_roots[0]}/{trimmed}"
    found = clean(absolute)
    if not any(is_inside(found, root) for root in cleaned_roots):
        raise PathOutsideWorkspaceError(f"path is outside the workspace: {found}", path=path)
    return found
