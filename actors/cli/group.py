"""The command group, and the options that commands share."""

from __future__ import annotations

from pathlib import Path

import click

HOME_OPTION = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="GREENROOM_HOME",
    help="Where sessions are stored (default: $GREENROOM_HOME, else the user's data directory).",
)
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="One JSON value per line.")
SESSION_ARGUMENT = click.argument("session_id")
AGENT_OPTION = click.option(
    "--agent", default="demo", show_default=True, help="See `greenroom agents`."
)
PERMISSIONS_OPTION = click.option(
    "--permissions",
    type=click.Choice(["deny-all", "approve-reads", "approve-all"]),
    default="approve-reads",
    show_default=True,
    help="What the agent may do without asking.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="greenroom")
def greenroom() -> None:
    """Run AI coding agents as durable, supervised actors."""
