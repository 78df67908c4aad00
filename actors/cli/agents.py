"""``greenroom agents`` and ``greenroom doctor --agent``: which agents there are, and do they work.

Neither needs a home or a runtime. A probe starts the agent in an empty directory and stops it.
"""

from __future__ import annotations

import click

from ...transport.agent.context import CallContext
from ...transport.agent.presets import PRESETS, installed, resolve_agent
from ...transport.agent.probe import ProbeReport, probe_agent
from ..model.agent import AgentDef
from .rendering import echo_json


def list_agents(*, probe: bool, as_json: bool) -> None:
    """One line per known agent.

    :param probe: start those that are installed, to see whether they open a session.
    """
    for agent in PRESETS.values():
        there = installed(agent)
        report = probe_agent(agent, CallContext()) if probe and there else None
        if as_json:
            echo_json(_listed(agent, there, report))
        else:
            click.echo(f"{agent.name:<10} {_status(agent, there, report)}")


def _listed(agent: AgentDef, there: bool, report: ProbeReport | None) -> dict[str, object]:
    found: dict[str, object] = {
        "name": agent.name,
        "installed": there,
        "command": agent.command,
        "description": agent.description,
        "install_hint": agent.install_hint,
    }
    return found if report is None else {**found, "probe": report}


def _status(agent: AgentDef, there: bool, report: ProbeReport | None) -> str:
    if not there:
        hint = click.style(f"  ({agent.install_hint})", dim=True)
        return f"missing    {agent.description}{hint}"
    if report is None:
        return f"{click.style('installed', fg='green')}  {agent.description}"
    if report.handshake_ok:
        spoken = f"{agent.description}, ACP v{report.protocol_version}"
        return f"{click.style('ready', fg='green')}      {spoken}"
    return f"{click.style('fails', fg='red')}      {agent.description}: {report.advice}"


def examine_agent(name: str, *, as_json: bool) -> bool:
    """Probe one agent and tell everything that was found.

    :returns: whether it opens a session.
    :raises AgentNotAvailableError: nobody knows the name.
    """
    agent = resolve_agent(name, {})
    report = probe_agent(agent, CallContext())
    if as_json:
        echo_json(report)
        return report.handshake_ok
    click.echo(f"{agent.name}: {agent.description}")
    for label, value in _findings(report):
        click.echo(f"  {label:<10} {value}")
    if report.advice:
        click.secho(f"  -> {report.advice}", fg="yellow")
    return report.handshake_ok


def _findings(report: ProbeReport) -> list[tuple[str, str]]:
    if not report.installed:
        return [("command", "not found")]
    found = [("command", report.command)]
    if report.version:
        found.append(("version", report.version))
    if report.handshake_ok:
        told = f", it calls itself {report.agent_info}" if report.agent_info else ""
        found.append(("session", f"opens, ACP v{report.protocol_version}{told}"))
    elif report.failure is not None:
        summary = " ".join(report.failure.summary.split())
        found.append(("session", f"does not open ({report.failure.kind}): {summary}"))
    if report.auth_methods:
        found.append(("logins", ", ".join(report.auth_methods)))
    return found
