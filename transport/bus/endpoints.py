"""Where the sockets of a runtime are, and how a subscriber finds them.

Rules owned here: the sockets lie in a directory of their own that only their owner can enter,
outside the home, as an ipc path is short (107 bytes on Linux, 103 on macOS); its name depends on
the owner and the home only, so a restarted runtime is found where it was. ``endpoints.json`` in
the home names the addresses while a runtime is open.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import BusEndpointError

ENDPOINTS_FILE = "endpoints.json"
IPC_PATH_BYTES_MAX = 103
EVENTS_SOCKET = "events"
CONTROL_SOCKET = "control"
COMMANDS_SOCKET = "commands"
_SCHEME = "ipc://"
_TEMP_PREFIX = ".greenroom-atomic-"
_LAST_RESORT = Path("/tmp")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses of a runtime: ``events`` (XPUB), ``control`` (ROUTER), and ``commands``.

    :param commands: the control plane's (ROUTER); empty while the runtime takes no calls.
    """

    events: str
    control: str
    commands: str = ""

    @classmethod
    def read(cls, home: Path) -> Endpoints:
        """The addresses written by the runtime of a home.

        :raises BusEndpointError: none is running there, or the file can not be read.
        """
        path = home / ENDPOINTS_FILE
        try:
            document = json.loads(path.read_bytes())
            commands = str(document.get("commands", ""))
            return cls(str(document["events"]), str(document["control"]), commands)
        except FileNotFoundError as error:
            raise BusEndpointError(
                f'no runtime is running in "{home}"; start one with `greenroom serve`, or name '
                "its home with GREENROOM_HOME or --home",
                path=str(path),
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BusEndpointError(
                f"{path} can not be read ({error}); restart the runtime to write it again",
                path=str(path),
            ) from error

    @classmethod
    def of(cls, where: Endpoints | Path | str) -> Endpoints:
        """Endpoints themselves, those of a home, or those beside an ``ipc://`` events address.

        :raises BusEndpointError: see :meth:`read`.
        """
        if isinstance(where, Endpoints):
            return where
        text = os.fspath(where)
        if text.startswith(_SCHEME):
            return cls(text, text.rpartition("/")[0] + "/" + CONTROL_SOCKET)
        return cls.read(Path(text))

    def with_commands(self) -> Endpoints:
        """The same, and the address for a control plane beside them; to be written once bound."""
        return replace(self, commands=self._beside(COMMANDS_SOCKET))

    def _beside(self, name: str) -> str:
        return self.events.rpartition("/")[0] + "/" + name

    def write(self, home: Path) -> None:
        """Tell subscribers, replacing the file as a whole.

        :raises OSError: the file system refused.
        """
        document = {"events": self.events, "control": self.control, "pid": os.getpid()}
        if self.commands:
            document["commands"] = self.commands
        handle, temp = tempfile.mkstemp(prefix=_TEMP_PREFIX, dir=home)
        try:
            with open(handle, "wb") as file:
                file.write(json.dumps(document, indent=2).encode() + b"\n")
            os.rename(temp, home / ENDPOINTS_FILE)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temp)
            raise

    def withdraw(self, home: Path) -> None:
        """Remove the file, the sockets and their directory, unless another process has them."""
        path = home / ENDPOINTS_FILE
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            try:
                pid = json.loads(path.read_bytes())["pid"]
            except (ValueError, KeyError, TypeError):
                pid = os.getpid()
            if pid != os.getpid():
                return
            path.unlink()
        addresses = (self.events, self.control, self._beside(COMMANDS_SOCKET))
        sockets = [Path(address.removeprefix(_SCHEME)) for address in addresses]
        with contextlib.suppress(OSError):
            for path in sockets:
                path.unlink(missing_ok=True)
            sockets[0].parent.rmdir()


def prepare_endpoints(home: Path) -> Endpoints:
    """The addresses for a home; their directory exists and is private when this returns.

    :raises BusEndpointError: the directory is not ours, or can not be made.
    """
    name = f"greenroom-{os.getuid()}-{_digest(home)}"
    for root in _roots():
        directory = root / name
        longest = directory / COMMANDS_SOCKET
        if len(os.fsencode(longest)) <= IPC_PATH_BYTES_MAX:
            _private(directory)
            return Endpoints(
                f"{_SCHEME}{directory}/{EVENTS_SOCKET}", f"{_SCHEME}{directory}/{CONTROL_SOCKET}"
            )
    raise BusEndpointError(f"no directory is short enough for the sockets of {home}")


def _digest(home: Path) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(home))).hexdigest()[:16]


def _roots() -> list[Path]:
    configured = os.environ.get("XDG_RUNTIME_DIR", "")
    roots = [Path(configured)] if os.path.isabs(configured) and os.path.isdir(configured) else []
    return [*roots, Path(tempfile.gettempdir()), _LAST_RESORT]


def _private(directory: Path) -> None:
    """Make the directory, or make sure that nobody else could have put something into it."""
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise BusEndpointError(
                f"{directory} is not a directory of this user; remove it", path=str(directory)
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            directory.chmod(0o700)
    except OSError as error:
        raise BusEndpointError(
            f"{directory}: {error.strerror or error}", path=str(directory)
        ) from error
