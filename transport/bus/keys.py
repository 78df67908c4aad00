"""The keys of a home: the runtime's own pair, its clients' pairs, and who is allowed what.

Rules owned here: everything lies in ``<home>/keys``, files of mode 0600 in a directory of mode
0700, and is not believed when others could have read or written it; files are replaced as a whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from .credentials import Credentials, KeyPair, key_of
from .errors import BusSecurityError
from .roles import Role

KEYS_DIRECTORY = "keys"
SERVER_FILE = "server.key"
ALLOWED_FILE = "allowed.json"
KEY_SUFFIX = ".key"
FILE_BYTES_MAX = 1024 * 1024
ALLOWED_MAX = 1000
"""Keys on the list."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TEMP_PREFIX = ".greenroom-atomic-"


@dataclass(frozen=True, slots=True)
class AllowedKey:
    """One line of the allow-list."""

    name: str
    public: str
    role: Role


class KeyStore:
    """The keys of one home.

    :param home: its directory; ``keys`` in it is made when it is needed.
    """

    def __init__(self, home: Path) -> None:
        self.directory = home / KEYS_DIRECTORY

    def server(self) -> KeyPair:
        """The runtime's own pair, made on first use.

        :raises BusSecurityError: the file can not be read or made, or not be trusted.
        """
        path = self.directory / SERVER_FILE
        if not path.exists():
            self._write(path, _pair_document(_new_pair()))
        return self._pair(path)

    def generate(self, name: str, role: Role) -> Credentials:
        """A new pair for a client, which is allowed at once; kept as ``keys/<name>.key``.

        That file is what the client needs, wherever it runs.

        :raises BusSecurityError: a bad or taken name, a full list, or files that can not be used.
        """
        pair, server = _new_pair(), self.server()
        self.allow(name, pair.public, role)
        document = {**_pair_document(pair), "server": server.public}
        self._write(self.directory / f"{name}{KEY_SUFFIX}", document)
        return Credentials(pair, server.public)

    def allow(self, name: str, public: str, role: Role) -> None:
        """Let a client in whose secret key was never here.

        :raises BusSecurityError: see :meth:`generate`.
        """
        if _NAME.fullmatch(name) is None or f"{name}{KEY_SUFFIX}" == SERVER_FILE:
            raise BusSecurityError(f'"{name}" can not be the name of a key')
        key_of(public)
        allowed = self.allowed()
        if any(name == known.name or public == known.public for known in allowed):
            raise BusSecurityError(f'the key "{name}" is allowed already')
        if len(allowed) >= ALLOWED_MAX:
            raise BusSecurityError(f"more than {ALLOWED_MAX} keys")
        self._write_allowed([*allowed, AllowedKey(name, public, role)])

    def revoke(self, name: str) -> None:
        """Let a client in no more, and forget its pair.

        :raises BusSecurityError: there is no such key, or files that can not be used.
        """
        allowed = self.allowed()
        kept = [key for key in allowed if key.name != name]
        if len(kept) == len(allowed):
            raise BusSecurityError(f'there is no key "{name}"')
        self._write_allowed(kept)
        (self.directory / f"{name}{KEY_SUFFIX}").unlink(missing_ok=True)

    def allowed(self) -> list[AllowedKey]:
        """Who may come in, in the order they were allowed.

        :raises BusSecurityError: the list can not be read, or not be trusted.
        """
        path = self.directory / ALLOWED_FILE
        if not path.exists():
            return []
        document = _read(path)
        try:
            return [
                AllowedKey(name, key_of(entry["public"]).decode(), Role(entry["role"]))
                for name, entry in document.items()
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise BusSecurityError(f"{path} can not be read: {error}", path=str(path)) from error

    def changed_at(self) -> int:
        """A number that is another one after the list was changed."""
        try:
            return (self.directory / ALLOWED_FILE).stat().st_mtime_ns
        except OSError:
            return 0

    def _pair(self, path: Path) -> KeyPair:
        return _pair_of(path, _read(path))

    def _write_allowed(self, allowed: list[AllowedKey]) -> None:
        document = {
            key.name: {"public": key.public, "role": key.role.value} for key in allowed
        }
        self._write(self.directory / ALLOWED_FILE, document)

    def _write(self, path: Path, document: dict[str, Any]) -> None:
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            _check_private(self.directory)
            handle, temp = tempfile.mkstemp(prefix=_TEMP_PREFIX, dir=self.directory)
            try:
                with open(handle, "wb") as file:
                    file.write(json.dumps(document, indent=2).encode() + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(temp, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temp)
                raise
        except OSError as error:
            raise BusSecurityError(f"{path}: {error.strerror}", path=str(path)) from error


def load_credentials(path: Path) -> Credentials:
    """The keys of a client, from the file that :meth:`KeyStore.generate` made.

    :raises BusSecurityError: it can not be read, or not be trusted.
    """
    document = _read(path)
    server = document.get("server")
    if not isinstance(server, str):
        raise BusSecurityError(f"{path} names no runtime", path=str(path))
    return Credentials(_pair_of(path, document), server)


def _new_pair() -> KeyPair:
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def _pair_document(pair: KeyPair) -> dict[str, Any]:
    return {"public": pair.public, "secret": pair.secret}


def _pair_of(path: Path, document: dict[str, Any]) -> KeyPair:
    try:
        return KeyPair(document["public"], document["secret"])
    except (KeyError, TypeError) as error:
        raise BusSecurityError(f"{path} holds no key pair", path=str(path)) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            _check_private(file.fileno(), path)
            document = json.loads(file.read(FILE_BYTES_MAX))
    except (OSError, ValueError) as error:
        raise BusSecurityError(f"{path} can not be read: {error}", path=str(path)) from error
    if not isinstance(document, dict):
        raise BusSecurityError(f"{path} can not be read", path=str(path))
    return document


def _check_private(where: Path | int, path: Path | None = None) -> None:
    found = os.stat(where)
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        name = path or where
        raise BusSecurityError(
            f"{name} can be used by others; chmod go-rwx it, or make new keys", path=str(name)
        )
