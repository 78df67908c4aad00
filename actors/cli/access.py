"""``greenroom keys`` and ``greenroom audit``: who may call a runtime, and who did."""

from __future__ import annotations

from pathlib import Path

import click

from ...transport.bus.keys import KEY_SUFFIX, AllowedKey, KeyStore
from ...transport.bus.roles import Role
from ..manager.audit import read_audit
from ..manager.options import default_home
from .rendering import echo_json


def generate_key(*, home: Path | None, name: str, role: str, as_json: bool) -> None:
    """Make and allow a pair."""
    place = home or default_home()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = KeyStore(place)
    made = store.generate(name, Role(role))
    path = store.directory / f"{name}{KEY_SUFFIX}"
    if as_json:
        told = {"name": name, "role": role, "public": made.pair.public, "server": made.server}
        echo_json({**told, "file": str(path)})
    else:
        click.echo(f"{path}")
        click.echo(f"allowed {name} ({role}); give the client this file, and nobody else", err=True)


def list_keys(*, home: Path | None, as_json: bool) -> None:
    """Print the allow-list."""
    for key in KeyStore(home or default_home()).allowed():
        _tell(key, as_json)


def allow_key(*, home: Path | None, name: str, public: str, role: str, as_json: bool) -> None:
    """Allow a public key."""
    place = home or default_home()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = KeyStore(place)
    store.allow(name, public, Role(role))
    _tell(AllowedKey(name, public, Role(role)), as_json)
    if not as_json:
        click.echo(f"the runtime's public key is {store.server().public}", err=True)


def revoke_key(*, home: Path | None, name: str, as_json: bool) -> None:
    """Take a key off the list."""
    KeyStore(home or default_home()).revoke(name)
    if as_json:
        echo_json({"name": name, "revoked": True})


def print_audit(*, home: Path | None, last: int, as_json: bool) -> None:
    """Print the newest recorded calls."""
    for line in read_audit(home or default_home())[-last:]:
        if as_json:
            echo_json(line)
        else:
            who, what = line.user or "(local)", f"{line.verb} {line.session_id}".strip()
            click.echo(f"{line.at:%Y-%m-%d %H:%M:%S}  {who:<12} {what:<40} {line.outcome}")


def _tell(key: AllowedKey, as_json: bool) -> None:
    if as_json:
        echo_json({"name": key.name, "role": key.role.value, "public": key.public})
    else:
        click.echo(f"{key.name:<24} {key.role.value:<8} {key.public}")
