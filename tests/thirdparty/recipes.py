"""How real agents are installed and told to use the stub model. Data, and one function each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

OWN_HOME = "{home}"
"""Stands for the home of the agent in its arguments."""
CACHE = Path(sys.prefix, "greenroom-test-cache", "agents")
INSTALL_TIMEOUT_S = 600


@dataclass(frozen=True)
class Recipe:
    """One agent.

    :param package: pinned; of npm, or of PyPI where ``python`` is given.
    :param command: what the package brings.
    :param args: after the command.
    :param configure: writes its configuration into a home, returns its variables.
    :param shell_tool: name and arguments of its tool that runs a command line.
    :param auth_method: named right after initialize.
    :param python: the least version of Python it runs on.
    """

    package: str
    command: str
    configure: Callable[[Path, Path, str], dict[str, str]]
    shell_tool: Callable[[str, Path], list]
    args: tuple[str, ...] = ()
    auth_method: str = ""
    python: tuple[int, int] | None = None


def qwen(home, workspace, url):
    folder = home / ".qwen"
    folder.mkdir()
    settings = {
        "security": {"auth": {"selectedType": "openai"}},
        "model": {"name": "stub"},
        "general": {"disableAutoUpdate": True},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": url, "OPENAI_MODEL": "stub"}


def codex(home, workspace, url):
    folder = home / ".codex"
    folder.mkdir()
    (folder / "config.toml").write_text(
        f"""
model = "gpt-5-codex"
model_provider = "stub"
approval_policy = "untrusted"
sandbox_mode = "workspace-write"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.stub]
name = "stub"
base_url = "{url}"
env_key = "STUB_API_KEY"
wire_api = "responses"
request_max_retries = 1
stream_max_retries = 1
[projects."{workspace}"]
trust_level = "trusted"
"""
    )
    return {"CODEX_HOME": str(folder), "STUB_API_KEY": "x", "OPENAI_API_KEY": "x"}


def fast(home, workspace, url):
    (home / "fastagent.config.yaml").write_text(
        f"""
default_model: generic.stub
generic:
  api_key: x
  base_url: {url}
logger:
  level: error
  type: none
"""
    )
    return {"GENERIC_API_KEY": "x", "GENERIC_BASE_URL": url}


def opencode(home, workspace, url):
    model = {"name": "Stub", "tool_call": True, "limit": {"context": 128000, "output": 8000}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Stub",
        "options": {"baseURL": url, "apiKey": "x"},
        "models": {"stub": model},
    }
    settings = {
        "model": "stub/stub",
        "small_model": "stub/stub",
        "autoupdate": False,
        "share": "disabled",
        "permission": {"edit": "ask", "bash": "ask"},
        "enabled_providers": ["stub"],
        "provider": {"stub": provider},
    }
    folder = home / ".config" / "opencode"
    folder.mkdir(parents=True)
    (folder / "opencode.json").write_text(json.dumps(settings))
    names = ("AUTOUPDATE", "MODELS_FETCH", "DEFAULT_PLUGINS", "LSP_DOWNLOAD", "SHARE")
    return {f"OPENCODE_DISABLE_{name}": "1" for name in names}


def kimi(home, workspace, url):
    folder = home / ".kimi"
    (folder / "credentials").mkdir(parents=True)
    (folder / "config.toml").write_text(
        f"""
default_model = "stub"
telemetry = false
[providers.stub]
type = "openai_legacy"
base_url = "{url}"
api_key = "x"
[models.stub]
provider = "stub"
model = "stub"
max_context_size = 128000
"""
    )
    # It wants a login even where another provider is configured; this one is never sent.
    login = {"access_token": "x", "refresh_token": "x", "scope": "kimi-code"}
    login |= {"token_type": "Bearer", "expires_in": 1e9, "expires_at": time.time() + 1e9}
    (folder / "credentials" / "kimi-code.json").write_text(json.dumps(login))
    return {"KIMI_SHARE_DIR": str(folder), "KIMI_DISABLE_TELEMETRY": "1"}


def vibe(home, workspace, url):
    folder = home / ".vibe"
    folder.mkdir()
    (folder / "config.toml").write_text(
        f"""
active_model = "stub"
enable_telemetry = false
enable_update_checks = false
enable_auto_update = false
[[providers]]
name = "stub"
api_base = "{url}"
api_key_env_var = "STUB_API_KEY"
api_style = "openai"
backend = "generic"
[[models]]
name = "stub"
provider = "stub"
alias = "stub"
"""
    )
    return {"STUB_API_KEY": "x", "VIBE_HOME": str(folder)}


def qwen_shell(line, workspace):
    return ["run_shell_command", {"command": line, "description": "d", "is_background": False}]


def codex_shell(line, workspace):
    return ["shell_command", {"command": line, "workdir": str(workspace), "timeout_ms": 60000}]


def described_shell(line, workspace):
    return ["bash", {"command": line, "description": "d"}]


def plain_shell(tool):
    return lambda line, workspace: [tool, {"command": line}]


NEWER_PYTHON = (3, 12)
RECIPES = {
    "qwen": Recipe(
        "@qwen-code/qwen-code@0.15.10",
        "qwen",
        qwen,
        qwen_shell,
        ("--acp", "--auth-type", "openai"),
    ),
    "codex": Recipe(
        "@zed-industries/codex-acp@0.16.0",
        "codex-acp",
        codex,
        codex_shell,
        auth_method="openai-api-key",
    ),
    "opencode": Recipe("opencode-ai@1.18.33", "opencode", opencode, described_shell, ("acp",)),
    "fast": Recipe(
        "fast-agent-mcp==0.10.46",
        "fast-agent",
        fast,
        plain_shell("execute"),
        ("--no-update-check", "acp", "--model", "generic.stub", "--home", OWN_HOME, "--shell"),
        python=NEWER_PYTHON,
    ),
    "kimi": Recipe(
        "kimi-cli==1.51.0",
        "kimi",
        kimi,
        plain_shell("Shell"),
        ("acp",),
        python=NEWER_PYTHON,
    ),
    "vibe": Recipe(
        "mistral-vibe==3.0.2",
        "vibe-acp",
        vibe,
        plain_shell("bash"),
        python=NEWER_PYTHON,
    ),
}


def installed(name):
    """Path of an agent's command, installed on first use; ``None`` and a reason otherwise."""
    recipe = RECIPES[name]
    place = CACHE / name
    command = place / ("bin" if recipe.python else "node_modules/.bin") / recipe.command
    if command.exists():
        return str(command), ""
    place.mkdir(parents=True, exist_ok=True)
    steps = by_pip(place, recipe) if recipe.python else by_npm(place, recipe)
    if steps is None:
        return None, f"{recipe.package} needs {recipe.python or 'npm'}, which is not installed"
    for step in steps:
        ran = subprocess.run(
            step, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
        if ran.returncode:
            return None, f"{recipe.package} could not be installed: {ran.stderr[-300:]}"
    return str(command), ""


def by_npm(place, recipe):
    npm = shutil.which("npm")
    if npm is None:
        return None
    return [[npm, "install", "--prefix", str(place), "--no-audit", "--no-fund", recipe.package]]


def by_pip(place, recipe):
    """Into an environment of its own: the agents need a newer Python than the project."""
    python = next(filter(runs, pythons(recipe.python)), None)
    if python is None:
        return None
    pip = [str(place / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    return [[python, "-m", "venv", str(place)], [*pip, recipe.package]]


def pythons(least):
    """Interpreters that may be new enough: on the path, and those of pyenv."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for minor in range(14, least[1] - 1, -1):
        yield shutil.which(f"python3.{minor}")
        yield from (str(place) for place in sorted(versions.glob(f"3.{minor}.*/bin/python")))


def runs(python):
    """Whether there is such an interpreter, and no stand-in for one."""
    return python is not None and not (
        subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode
    )


def environment(name, home, workspace, url):
    """All variables of an agent: nothing of the user's own configuration or keys."""
    passed = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    own = RECIPES[name].configure(home, workspace, url)
    private = {"HOME": str(home), "TMPDIR": str(home), "NO_COLOR": "1", "TERM": "dumb"}
    for kind in ("CONFIG", "STATE", "CACHE"):
        private[f"XDG_{kind}_HOME"] = str(home / f".{kind.lower()}")
    private["XDG_DATA_HOME"] = str(home / ".local" / "share")
    return {**passed, **private, **own}
