"""``greenroom ls``: the stored sessions, without starting a runtime."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from ...storage.catalog import view_catalog
from ..core.recovery import classify_inactive_meta_for_recovery
from ..manager.options import default_home
from ..model.session import SessionMeta
from .rendering import echo_json


def list_sessions(*, home: Path | None, as_json: bool) -> None:
    """One line per session, oldest first.

    Reads the catalog, and the meta documents that are newer: safe beside a running runtime.
    """
    place = home or default_home()
    owned = (place / "endpoints.json").exists()
    found = [_shown(meta, owned) for meta in _metas(place)]
    for meta in sorted(found, key=lambda m: (m.created_at, m.id)):
        if as_json:
            echo_json(meta)
        else:
            reason = f" ({meta.stop_reason})" if meta.stop_reason else ""
            when = meta.updated_at.astimezone().strftime("%Y-%m-%d %H:%M")
            click.echo(f"{meta.id}  {meta.agent_name:<10} {when}  {meta.state}{reason}")
    if not found and not as_json:
        click.secho('no sessions yet; start one with: greenroom run "..."', dim=True, err=True)


def _metas(home: Path) -> list[SessionMeta]:
    metas: list[SessionMeta] = []
    for listed in view_catalog(home).sessions():
        if listed.meta is None:
            click.secho(f"skipped {listed.session_id}: {listed.error}", fg="yellow", err=True)
        else:
            metas.append(listed.meta)
    return metas


def _shown(meta: SessionMeta, owned: bool) -> SessionMeta:
    """Without a runtime, a session that looks alive was cut off: show what a resume would see."""
    if owned:
        return meta
    return classify_inactive_meta_for_recovery(datetime.now(UTC), meta)[0]
