"""Agents known by name, and how a name becomes a command. Data, and two look-ups."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence

from ...actors.errors import AgentNotAvailableError
from ...actors.model.agent import AgentDef

DEMO = "demo"

PRESETS: Mapping[str, AgentDef] = {
    agent.name: agent
    for agent in (
        AgentDef(
            DEMO,
            # -P: a module of the workspace must not stand in for one of the library's.
            (sys.executable, "-P", "-m", "greenroom.transport.demo"),
            description="Shipped with greenroom: shows what a session does; no model, no network",
        ),
        AgentDef(
            "claude",
            ("claude-code-acp",),
            description="Claude Code, by its ACP adapter",
            install_hint="npm install -g @zed-industries/claude-code-acp",
        ),
        AgentDef(
            "codex",
            ("codex-acp",),
            description="OpenAI Codex, by its ACP adapter",
            install_hint="npm install -g @zed-industries/codex-acp",
        ),
        AgentDef(
            "gemini",
            ("gemini", "--experimental-acp"),
            description="Gemini CLI",
            install_hint="npm install -g @google/gemini-cli",
        ),
        AgentDef(
            "opencode",
            ("opencode", "acp"),
            description="OpenCode",
            install_hint="npm install -g opencode-ai",
        ),
        AgentDef(
            "vibe",
            ("vibe-acp",),
            description="Mistral Vibe",
            install_hint="pip install mistral-vibe",
        ),
        AgentDef(
            "kimi",
            ("kimi", "acp"),
            description="Kimi CLI",
            install_hint="pip install kimi-cli",
        ),
        AgentDef(
            "qwen",
            ("qwen", "--acp"),
            description="Qwen Code",
            install_hint="npm install -g @qwen-code/qwen-code",
        ),
        AgentDef(
            "fast-agent",
            ("fast-agent", "acp"),
            description="fast-agent",
            install_hint="pip install fast-agent-mcp",
        ),
        AgentDef(
            "goose",
            ("goose", "acp"),
            description="Goose",
            install_hint="see https://block.github.io/goose",
        ),
    )
}
"""Every agent greenroom knows without being told."""

CustomAgent = AgentDef | Sequence[str]
"""What a host may give for a name: argv, or the whole definition."""


def resolve_agent(name: str, agents: Mapping[str, CustomAgent]) -> AgentDef:
    """The definition behind a name: the host's own first, then the presets.

    :param agents: the host's agents, by name.
    :raises AgentNotAvailableError: nobody knows the name; ``known`` lists who is known.
    """
    found = agents.get(name, PRESETS.get(name))
    if found is None:
        known = tuple(sorted({*agents, *PRESETS}))
        raise AgentNotAvailableError(
            f'no agent is named "{name}"; known are {", ".join(known)}',
            agent_name=name,
            known=known,
        )
    return found if isinstance(found, AgentDef) else AgentDef(name, tuple(found))


def installed(agent: AgentDef) -> bool:
    """Whether the command of an agent is on our PATH."""
    return bool(agent.command) and shutil.which(agent.command[0]) is not None
