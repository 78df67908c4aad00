"""What is known of the well-known agents beyond their commands (07 R27, R35). Data, a look-up.

A quirk fills in what a caller left open; it never overrides what was asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .presets import DEMO, PRESETS
from .protocol import StartOpts

VERSION_ARGS = ("--version",)


@dataclass(frozen=True, slots=True)
class Quirks:
    """One agent's ways.

    :param auth_hint: how one logs in, for people.
    :param auth_by_variable: variable of the environment -> authentication method to name right
        after initialize when it is set: the agent does not look there by itself (07 R35).
    :param acp_version: pinned version of the protocol.
    :param advertise_fs: ``False``: the agent can not work through our files (07 R27).
    :param settle_s: 0 for an agent known to answer last: in recorded traffic of at least 20 turns
        no content came after the answer of a prompt (04 4.2).
    :param version_args: what makes its command print its version; empty: nothing does.
    """

    auth_hint: str = ""
    auth_by_variable: tuple[tuple[str, str], ...] = ()
    acp_version: str = "auto"
    advertise_fs: bool = True
    settle_s: float | None = None
    version_args: tuple[str, ...] = VERSION_ARGS


NONE = Quirks()
QUIRKS: Mapping[str, Quirks] = {
    DEMO: Quirks(settle_s=0.0, version_args=()),
    "claude": Quirks(auth_hint="run `claude` once and log in, or set ANTHROPIC_API_KEY"),
    "codex": Quirks(
        auth_hint="run `codex login`, or set CODEX_API_KEY or OPENAI_API_KEY",
        auth_by_variable=(
            ("CODEX_API_KEY", "codex-api-key"),
            ("OPENAI_API_KEY", "openai-api-key"),
        ),
        settle_s=0.0,
    ),
    "gemini": Quirks(auth_hint="run `gemini` once and log in, or set GEMINI_API_KEY"),
    "opencode": Quirks(auth_hint="run `opencode auth login`"),
    "vibe": Quirks(auth_hint="run `vibe --setup`, or set MISTRAL_API_KEY"),
    "kimi": Quirks(auth_hint="run `kimi` once and use /login", settle_s=0.0),
    "qwen": Quirks(auth_hint="run `qwen` once and choose a login, or set OPENAI_API_KEY"),
    "fast-agent": Quirks(auth_hint="set the key of a provider, such as ANTHROPIC_API_KEY"),
    "goose": Quirks(auth_hint="run `goose configure`"),
}


def quirks_of(name: str, command: tuple[str, ...]) -> Quirks:
    """The quirks of a preset; none for a host's own agent that only has its name."""
    preset = PRESETS.get(name)
    if preset is None or preset.command != command:
        return NONE
    return QUIRKS.get(name, NONE)


def with_quirks(opts: StartOpts) -> StartOpts:
    """The options of a start, what they leave open filled in."""
    quirks = quirks_of(opts.agent_name, opts.command)
    if quirks is NONE:
        return opts
    env = {**(os.environ if opts.inherit_env else {}), **dict(opts.env)}
    methods = (method for variable, method in quirks.auth_by_variable if env.get(variable))
    return replace(
        opts,
        auth_method=opts.auth_method or next(methods, ""),
        acp_version=quirks.acp_version if opts.acp_version == "auto" else opts.acp_version,
        advertise_fs=opts.advertise_fs and quirks.advertise_fs,
        settle_s=quirks.settle_s if opts.settle_s is None else opts.settle_s,
    )
