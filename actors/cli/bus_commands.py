"""Commands about who may call a runtime: ``keys`` and ``audit``."""

from __future__ import annotations

from pathlib import Path

import click

from .failures import one_line
from .group import HOME_OPTION, JSON_OPTION, greenroom

ROLE_OPTION = click.option(
    "--role",
    type=click.Choice(["read", "operate", "admin"]),
    default="read",
    show_default=True,
    help="read: follow and look; operate: also prompt, approve, stop; admin: everything.",
)
NAME_ARGUMENT = click.argument("name")


@greenroom.group()
def keys() -> None:
    """Keys that let clients of other machines into `greenroom serve --listen`.

    A change counts for a running runtime at once.
    """


@keys.command()
@NAME_ARGUMENT
@ROLE_OPTION
@HOME_OPTION
@JSON_OPTION
@one_line
def generate(name: str, role: str, home: Path | None, as_json: bool) -> None:
    """Make a pair of keys for a client and let it in; prints the file to give to it."""
    from .access import generate_key

    generate_key(home=home, name=name, role=role, as_json=as_json)


@keys.command("list")
@HOME_OPTION
@JSON_OPTION
@one_line
def list_allowed(home: Path | None, as_json: bool) -> None:
    """List who may come in: name, role and public key."""
    from .access import list_keys

    list_keys(home=home, as_json=as_json)


# A key may begin with any character, a dash included: here, nothing short is an option.
@keys.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@NAME_ARGUMENT
@click.argument("public_key")
@ROLE_OPTION
@HOME_OPTION
@JSON_OPTION
@one_line
def allow(name: str, public_key: str, role: str, home: Path | None, as_json: bool) -> None:
    """Let a client in by its PUBLIC_KEY, whose secret half never was here."""
    from .access import allow_key

    allow_key(home=home, name=name, public=public_key, role=role, as_json=as_json)


@keys.command()
@NAME_ARGUMENT
@HOME_OPTION
@JSON_OPTION
@one_line
def revoke(name: str, home: Path | None, as_json: bool) -> None:
    """Let a client in no more; its connections are cut."""
    from .access import revoke_key

    revoke_key(home=home, name=name, as_json=as_json)


@greenroom.command()
@click.option("--last", type=click.IntRange(min=1), default=50, show_default=True)
@HOME_OPTION
@JSON_OPTION
@one_line
def audit(last: int, home: Path | None, as_json: bool) -> None:
    """Print the last control calls: who asked for what, and what became of it."""
    from .access import print_audit

    print_audit(home=home, last=last, as_json=as_json)
