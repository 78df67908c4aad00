"""The settings an agent offers, and which of them a session asks for (04 2.6, D6).

Pure choice: what is sent is the codec's, when is the handshake's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...actors.model.agent import Caps, PermissionMode, SessionConfigOption

GATEWAY_MODES = ("default", "ask")
MODES_BY_PERMISSION = {
    PermissionMode.APPROVE_ALL: (
        "full-access",
        "full_access",
        "bypassPermissions",
        "bypass_permissions",
        "auto",
        "acceptEdits",
    ),
    PermissionMode.APPROVE_READS: ("read-only", "read_only", "readOnly", "plan", "ask"),
    PermissionMode.DENY_ALL: ("read-only", "read_only", "readOnly", "plan", "ask"),
}
"""Mode ids to try, in order; compared without case."""

MODEL_IDS = ("model",)
EFFORT_IDS = ("reasoning_effort", "effort")


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting to make; with a blank ``option_id`` by the method made for it."""

    option_id: str
    value: str
    is_boolean: bool = False


class NotOffered(Exception):
    """The agent does not offer the value that was asked for; nothing is to be sent."""


def decode_options(value: Any, id_name: str = "id") -> tuple[SessionConfigOption, ...]:
    """``configOptions`` of any message: blank ids and unknown types dropped, groups flattened.

    :param id_name: the member that names an option, which depends on the version.
    """
    if not isinstance(value, list):
        return ()
    return tuple(option for item in value if (option := _option(item, id_name)) is not None)


def _option(item: Any, id_name: str) -> SessionConfigOption | None:
    if not isinstance(item, dict) or not (option_id := _trimmed(item.get(id_name))):
        return None
    match item.get("type"):
        case "select":
            current, values = _trimmed(item.get("currentValue")), tuple(_values(item))
        case "boolean":
            current = "true" if item.get("currentValue") is True else "false"
            values = (("true", "true"), ("false", "false"))
        case _:
            return None
    return SessionConfigOption(
        id=option_id,
        label=_trimmed(item.get("name")),
        description=_trimmed(item.get("description")),
        kind=item["type"],
        category=_trimmed(item.get("category")),
        current=current,
        values=values,
    )


def _values(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    options = item.get("options")
    for entry in options if isinstance(options, list) else ():
        if not isinstance(entry, dict):
            continue
        value = entry.get("value")
        if isinstance(value, str):
            yield value.strip(), _trimmed(entry.get("name"))
        elif isinstance(entry.get("options"), list):
            yield from _values(entry)


def _trimmed(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def ids_in(value: Any, list_name: str, id_name: str) -> tuple[str, ...]:
    """The ids of ``value[list_name]``, as in ``modes`` and the legacy ``models``."""
    items = value.get(list_name) if isinstance(value, dict) else None
    return tuple(
        item[id_name]
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict) and isinstance(item.get(id_name), str) and item[id_name]
    )


def choose_mode(caps: Caps, permissions: PermissionMode, prefer_gateway: bool) -> Setting | None:
    """The mode to set, in the agent's spelling; ``None`` when none fits.

    Agents without modes may have an option of that category (07 11). A blank ``option_id``
    stands for the mode method.
    """
    option = None if caps.supported_modes else _select(caps, (), "mode")
    modes = caps.supported_modes if option is None else [value for value, _ in option.values]
    offered = {mode.lower(): mode for mode in reversed(modes)}
    # Where nothing of the work passes us, a mode that asks would leave "no" to the asking (07 7).
    prefer_gateway &= not (caps.owns_files and permissions is PermissionMode.DENY_ALL)
    for wanted in (GATEWAY_MODES if prefer_gateway else ()) + MODES_BY_PERMISSION[permissions]:
        if wanted.lower() in offered:
            return Setting(option.id if option else "", offered[wanted.lower()])
    return None


def named_mode(caps: Caps, mode: str) -> Setting:
    """How to set that very mode.

    :raises NotOffered: neither the modes nor an option of the category list it.
    """
    option = None if caps.supported_modes else _select(caps, (), "mode")
    if option is not None:
        return _offered(option, "mode", mode)
    if mode not in caps.supported_modes:
        raise NotOffered(f'mode "{mode}" is not available')
    return Setting("", mode)


def named_option(caps: Caps, option_id: str, value: str) -> Setting | None:
    """How to set an option by its id; ``None`` when there is no such option.

    :raises NotOffered: it does not list the value.
    """
    found = [option for option in caps.config_options if option.id == option_id]
    return _offered(found[0], option_id, value) if found else None


def choose_model(caps: Caps, model: str) -> Setting:
    """How to set ``model``.

    :raises NotOffered: it is in neither the option nor the legacy list.
    """
    option = _select(caps, MODEL_IDS, "model")
    if option is None:
        if model not in caps.supported_models:
            raise NotOffered(f'model "{model}" is not available in legacy ACP model state')
        return Setting("", model)
    return _offered(option, "model", model)


def choose_effort(caps: Caps, effort: str) -> Setting | None:
    """How to set ``effort``; ``None`` when the agent has no such setting.

    :raises NotOffered: the setting does not list it.
    """
    option = _select(caps, EFFORT_IDS, "thought_level")
    return None if option is None else _offered(option, "reasoning effort", effort)


def _select(caps: Caps, ids: tuple[str, ...], category: str) -> SessionConfigOption | None:
    """By id, in the order of ``ids``; else the first of the category (D6)."""
    selects = [option for option in caps.config_options if option.kind == "select"]
    by_id = {option.id: option for option in reversed(selects)}
    found = [by_id[option_id] for option_id in ids if option_id in by_id]
    found += [option for option in selects if option.category == category]
    return found[0] if found else None


def _offered(option: SessionConfigOption, what: str, value: str) -> Setting:
    if value not in {offered for offered, _ in option.values}:
        raise NotOffered(f'{what} "{value}" is not available in config option "{option.id}"')
    return Setting(option.id, value, is_boolean=option.kind == "boolean")
