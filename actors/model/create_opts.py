"""What a session is created with (01 7)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import PurePath
from typing import Any

from ..errors import SessionValueError
from .restart import RestartPolicy

TEXT_BYTES_MAX = 64 * 1024
"""Longest text of an option: it goes into ``meta.json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOpts:
    """The options of ``create``.

    :param agent_name: ``demo``, a preset, or a key of the manager's ``agents``.
    :param workspace_path: directory the agent works in, as text or a path.
    :param workspace: the same by id of a known workspace; give exactly one of the two.
    :param name: display name.
    :param type: a :class:`SessionType`; anything else is ``user`` (01 2.2).
    :param provider: who runs the agent, if not its own: the name of another agent, whose command
        is used (01 7.5).
    :param model: the model asked for; needs a ``provider``, like ``reasoning_effort``.
    :param reasoning_effort: one of ``SUPPORTED_REASONING_EFFORTS``.
    :param permissions: ``deny-all``, ``approve-reads`` (default) or ``approve-all``.
    :param channel: of the network the agent is to be known in.
    :param prompt_overlay: appended to the agent's system prompt.
    :param restart: ``temporary`` (default: a crash ends the session), ``transient`` (a crash or a
        stall restarts the agent), ``permanent`` (so does a clean exit), or a
        :class:`RestartPolicy` (01 9.6). Default: the manager's ``restart``.
    """

    agent_name: str
    workspace_path: Any = ""
    workspace: str = ""
    name: str = ""
    type: str = ""
    provider: str = ""
    model: str = ""
    reasoning_effort: str = ""
    permissions: str = ""
    channel: str = ""
    prompt_overlay: str = ""
    restart: RestartPolicy | str | None = None

    def checked(self) -> CreateOpts:
        """The options with every text a text.

        :raises SessionValueError: one that is no text, or too long. Field: ``field``.
        """
        path = self.workspace_path
        opts = replace(self, workspace_path=str(path) if isinstance(path, PurePath) else path)
        for field in fields(opts):
            value = getattr(opts, field.name)
            if field.name == "restart":
                continue
            if not isinstance(value, str):
                raise SessionValueError(
                    f"create: {field.name} must be text", operation="create", field=field.name
                )
            if len(value.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
                raise SessionValueError(
                    f"create: {field.name} exceeds {TEXT_BYTES_MAX} bytes",
                    operation="create",
                    field=field.name,
                )
        return opts
