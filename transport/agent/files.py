"""Files of a workspace, read and written for an agent that must not reach outside (04 5.3, 5.4).

Rules it owns: every component is opened relative to the descriptor of the one before and never
through a symbolic link, links are followed by hand and only to places inside the roots (D20);
only regular files; writes go to a temporary file that replaces the target (D21).

Blocking, and therefore called in a native thread. No state but the roots: any number of threads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from ...actors.errors import InvalidPathError, PathOutsideWorkspaceError, RequestError
from ..acp.confinement import clean, is_inside
from . import natives

ANSWER_BYTES_MAX = 8 * 1024 * 1024
"""Largest piece of a file that is answered (D21)."""
SCANNED_BYTES_MAX = 256 * 1024 * 1024
"""Read at most in search of a line."""
SYMLINKS_MAX = 40
"""Links followed for one path, as in the kernel."""
READ_BYTES = 1024 * 1024
NEW_FILE_MODE = 0o600
NEW_DIRECTORY_MODE = 0o755
PERMISSION_BITS = 0o777
"""Kept of a replaced file: content of an agent never gets another user's rights."""
TEMPORARY_PREFIX = ".greenroom-atomic-"
RESOURCE_NOT_FOUND = -32002
INVALID_PARAMS = -32602

# A path descriptor needs no right to list the directory; macOS has none and asks for that right.
_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IS_LINK = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EMLINK})


class Workspace:
    """The directories one session may touch.

    :param roots: canonical absolute directories, the primary one first.
    """

    def __init__(self, roots: tuple[str, ...]) -> None:
        self.roots = roots

    def read_text(self, path: str, line: int | None, limit: int | None) -> str:
        r"""The text of a file, or some of its ``\n``-split lines.

        :param line: first line, from 1; ``None`` or less than 1 is the start.
        :param limit: number of lines; ``None`` or negative is the rest.
        :raises InvalidPathError: blank, a NUL byte, no regular file, or links in a circle.
        :raises PathOutsideWorkspaceError: it leads outside.
        :raises RequestError: -32002 no such file, -32602 too large to answer.
        :raises OSError: the system refused.
        """
        try:
            with self._place(path, create=False) as place:
                fd = place.open_file()
                try:
                    return _read_lines(fd, max(line or 1, 1), -1 if limit is None else limit, path)
                finally:
                    natives.close(fd)
        except (FileNotFoundError, NotADirectoryError):
            raise not_found(path) from None

    def write_text(self, path: str, content: str) -> None:
        """Replace a file, or make it and the directories above it.

        :raises InvalidPathError: as in :meth:`read_text`, or the path is a directory.
        :raises PathOutsideWorkspaceError: it leads outside.
        :raises OSError: the system refused.
        """
        with self._place(path, create=True) as place:
            place.replace_file(content.encode("utf-8", "replace"))

    def open_directory(self, path: str) -> tuple[int, str]:
        """Open a directory to start a command in.

        :returns: a descriptor, which the caller closes, and the canonical path it had.
        :raises InvalidPathError: blank, a NUL byte, not there, or no directory.
        :raises PathOutsideWorkspaceError: it leads outside.
        :raises OSError: the system refused.
        """
        place = _Place(self.roots, path, create=False)
        try:
            place.find(_absolute(path, self.roots[0]), directory=True)
            return place.take_directory()
        except (FileNotFoundError, NotADirectoryError):
            raise InvalidPathError(f"no such directory: {path}", path=path) from None
        finally:
            place.close()

    def locate(self, path: str) -> str:
        """Where a path leads, which need not exist; for judging, never for opening (04 5.3).

        :raises InvalidPathError: blank, or a NUL byte.
        :raises PathOutsideWorkspaceError: outside, or not to be told.
        """
        absolute = clean(_absolute(path, self.roots[0]))
        with contextlib.suppress(OSError):
            absolute = os.path.realpath(absolute)
            if _root_of(absolute, self.roots) is not None:
                return absolute
        raise PathOutsideWorkspaceError(f"path is outside the workspace: {path}", path=path)

    @contextlib.contextmanager
    def _place(self, path: str, *, create: bool) -> Iterator[_Place]:
        place = _Place(self.roots, path, create)
        try:
            place.find(_absolute(path, self.roots[0]))
            yield place
        finally:
            place.close()


class _Place:
    """Where a path leads: the descriptor of a directory inside the roots, and a name in it."""

    def __init__(self, roots: tuple[str, ...], path: str, create: bool) -> None:
        self._roots = roots
        self._path = path
        self._create = create
        self._root = ""
        self._fds: list[int] = []
        self._names: list[str] = []
        self._name = ""
        self._links = 0

    def find(self, absolute: str, *, directory: bool = False) -> None:
        """Walk to ``absolute``, which may name a link at any component.

        :param directory: enter the last component too.
        """
        pending = self._enter(absolute)
        while pending:
            name = pending.pop(0)
            match name:
                case "" | ".":
                    continue
                case ".." if self._names:
                    natives.close(self._fds.pop())
                    self._names.pop()
                    continue
                case "..":
                    pending = self._enter("/".join([os.path.dirname(self._root), *pending]))
                    continue
            target = self._link_target(name)
            if target is not None:
                pending = self._follow(target, pending)
            elif pending or directory:
                self._descend(name)
            else:
                self._name = name
        if not self._name and not directory:
            raise InvalidPathError(f"not a regular file: {self._path}", path=self._path)

    def _enter(self, absolute: str) -> list[str]:
        """Start again at the root that holds ``absolute``; returns the components below it."""
        self.close()
        cleaned = clean(absolute)
        root = _root_of(cleaned, self._roots)
        if root is None:
            # Perhaps another name of a root. Only where it leads is taken from this look: the
            # walk below starts at the root again and trusts none of it.
            with contextlib.suppress(OSError):  # what we may not look at is outside
                cleaned = os.path.realpath(cleaned)
                root = _root_of(cleaned, self._roots)
        if root is None:
            raise PathOutsideWorkspaceError(
                f"path is outside the workspace: {self._path}", path=self._path
            )
        self._root = root
        self._fds = [os.open(root, _DIRECTORY)]
        self._names = []
        return cleaned[len(root) :].split("/")

    def _follow(self, target: str, pending: list[str]) -> list[str]:
        self._links += 1
        if self._links > SYMLINKS_MAX:
            raise InvalidPathError(f"too many symbolic links: {self._path}", path=self._path)
        if target.startswith("/"):
            return self._enter("/".join([target, *pending]))
        return [*target.split("/"), *pending]

    def _link_target(self, name: str) -> str | None:
        try:
            return os.readlink(name, dir_fd=self._fds[-1])
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):  # no link, or nothing at all
                return None
            raise

    def _descend(self, name: str) -> None:
        parent = self._fds[-1]
        if self._create:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, NEW_DIRECTORY_MODE, dir_fd=parent)
        try:
            self._fds.append(os.open(name, _DIRECTORY, dir_fd=parent))
        except OSError as error:
            if error.errno in _IS_LINK and self._is_link_or_directory(name):
                raise self._changed() from None
            raise
        self._names.append(name)

    def _is_link_or_directory(self, name: str) -> bool:
        """Either way it was no link when we looked and was one when we opened."""
        mode = os.stat(name, dir_fd=self._fds[-1], follow_symlinks=False).st_mode
        return stat.S_ISLNK(mode) or stat.S_ISDIR(mode)

    def _changed(self) -> PathOutsideWorkspaceError:
        """Somebody swapped a component for a link while we walked: no honest caller does that."""
        return PathOutsideWorkspaceError(
            f"path changed while it was opened: {self._path}", path=self._path
        )

    def _status(self) -> os.stat_result | None:
        try:
            return os.stat(self._name, dir_fd=self._fds[-1], follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _require_regular(self, status: os.stat_result) -> None:
        if stat.S_ISLNK(status.st_mode):
            raise self._changed()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidPathError(f"not a regular file: {self._path}", path=self._path)

    def take_directory(self) -> tuple[int, str]:
        """The descriptor of where the walk ended, no longer ours, and its path."""
        return self._fds.pop(), "/".join([self._root.rstrip("/"), *self._names]) or "/"

    def open_file(self) -> int:
        """Open the file for reading."""
        status = self._status()
        if status is None:
            raise FileNotFoundError(self._path)
        # Looked at before it is opened, for opening a device can do things, and after.
        self._require_regular(status)
        try:
            fd = os.open(self._name, _READ, dir_fd=self._fds[-1])
        except OSError as error:
            if error.errno in _IS_LINK:
                raise self._changed() from None
            raise
        try:
            self._require_regular(os.fstat(fd))
        except InvalidPathError:
            natives.close(fd)
            raise
        return fd

    def replace_file(self, content: bytes) -> None:
        """Write a temporary file next to the target and rename it over the target."""
        status = self._status()
        if status is not None:
            self._require_regular(status)
        mode = NEW_FILE_MODE if status is None else status.st_mode & PERMISSION_BITS
        parent = self._fds[-1]
        temporary = TEMPORARY_PREFIX + os.urandom(8).hex()
        fd = os.open(temporary, _CREATE, NEW_FILE_MODE, dir_fd=parent)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
            os.rename(temporary, self._name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=parent)
            raise

    def close(self) -> None:
        """Give the descriptors back."""
        while self._fds:
            natives.close(self._fds.pop())


def not_found(path: str) -> RequestError:
    """The error by which agents tell a new file from a failure (07 R26)."""
    return RequestError(f"Resource not found: {path}", code=RESOURCE_NOT_FOUND, data={"path": path})


def _absolute(path: str, root: str) -> str:
    trimmed = path.strip()
    if not trimmed:
        raise InvalidPathError("path is blank", path=path)
    if "\0" in trimmed:
        raise InvalidPathError("path holds a NUL byte", path=path)
    return trimmed if trimmed.startswith("/") else f"{root}/{trimmed}"


def _root_of(path: str, roots: tuple[str, ...]) -> str | None:
    return next((root for root in roots if is_inside(path, root)), None)


def _read_lines(fd: int, line: int, limit: int, path: str) -> str:
    r"""Lines ``line`` to ``line + limit - 1`` of the ``\n``-split file, joined again."""
    if limit == 0:
        return ""
    kept = bytearray()
    to_skip, to_keep, scanned = line - 1, limit, 0
    while data := os.read(fd, READ_BYTES):
        scanned += len(data)
        start = 0
        while to_skip and (found := data.find(b"\n", start)) >= 0:
            start, to_skip = found + 1, to_skip - 1
        if to_skip:
            start = len(data)
        end = start
        while to_keep > 0 and (found := data.find(b"\n", end)) >= 0:
            end, to_keep = found + 1, to_keep - 1
        kept += data[start:end] if to_keep == 0 else data[start:]
        if len(kept) > ANSWER_BYTES_MAX or scanned > SCANNED_BYTES_MAX:
            raise RequestError(f"file is too large to answer: {path}", code=INVALID_PARAMS)
        if to_keep == 0:
            del kept[-1:]  # the newline that ends the last line asked for
            break
    return kept.decode("utf-8", "replace")
