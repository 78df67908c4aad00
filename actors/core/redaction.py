"""Hides secrets in everything that is stored, published, notified or logged (03 3.3, 01 11.4).

==============  ==============================================================================
text            rules 1-5 of :mod:`..model.secret_text`, then (6) every registered secret
JSON            a text whose member's name looks secret is hidden whole, and so is a list or
                object of such a member that holds any text; all other text obeys the text rules;
                numbers, booleans and null are never hidden
event           ``TEXT_FIELDS``, the failure, ``SYNTHETIC_FIELDS``, the texts of ``runtime`` and
                ``raw``; not ids, correlation and usage
white space     alone is nothing to hide: it is kept byte for byte
==============  ==============================================================================

What had nothing to hide is returned as the same object. The raw JSON of a chunk of text is not
stored: of a run it is looked at when somebody asks for it, with the secrets known when it came.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from ..model.event import AgentEvent, RawJSON
from ..model.failure import SessionFailure, bound_text
from ..model.runs import TextRun, of_runs, runs_of
from ..model.secret_text import CLAIM_PREFIX, MARK, STEMS, has_stem, hide_values, is_secret_name
from ..model.session import SessionMeta

SECRET_CHARS_MIN = 8
"""Shorter secrets are not registered: they would hide half of what people write (01 11.4)."""

SEARCHED_MAX = 512 * 1024
"""Characters of text, or bytes of JSON, that are searched for secrets, since every session waits
meanwhile: what is longer and looks suspicious is hidden whole."""

TEXT_FIELDS = (
    "text",
    "title",
    "tool_call_id",
    "stop_reason",
    "action",
    "resource",
    "decision",
    "error",
)
SYNTHETIC_FIELDS = frozenset(
    {
        "task_id",
        "task_run_id",
        "workflow_id",
        "coordinator_session_id",
        "reason",
        "summary",
        "wake_event_id",
    }
)
RUNTIME_EXEMPT = frozenset({"turn_id", "turn_source"})

_STEM_BYTES = tuple(stem.encode() for stem in STEMS)


class Redactor:
    """The rules above and the secrets known to a runtime or a session.

    A check costs one look per registered secret, so register values, not their every use: the same
    secret registered twice is counted, not repeated.
    """

    __slots__ = ("_counts", "_needles", "_redact_as_of_now", "_secrets")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._redact_as_of_now: Callable[[RawJSON], bytes] | None = None
        self._secrets: tuple[str, ...] = ()
        self._needles: tuple[bytes, ...] = ()

    def register(self, secret: str) -> Callable[[], None]:
        """Hide ``secret`` from now on, until the result is called (01 11.4).

        The secret is trimmed; one shorter than ``SECRET_CHARS_MIN``, or that is part of the mark
        itself, is not registered. Releasing twice is releasing once.
        """
        trimmed = secret.strip()
        if len(trimmed) < SECRET_CHARS_MIN or trimmed in MARK:
            return _nothing
        self._counts[trimmed] = self._counts.get(trimmed, 0) + 1
        self._order()
        held = [trimmed]

        def release() -> None:
            if held:
                self._release(held.pop())

        return release

    def redact(self, text: str) -> str:
        """``text`` without secrets; the same object when there is nothing to hide."""
        if not self._may_hide(text):
            return text
        if len(text) > SEARCHED_MAX:
            return MARK if has_stem(text) or any(s in text for s in self._secrets) else text
        return self._redact_to_the_end(text)

    def redact_and_bound(self, text: str, bytes_max: int) -> str:
        """Redact, then cut to ``bytes_max`` bytes of UTF-8 (01 11.4)."""
        return bound_text(self.redact(text), bytes_max)

    def redact_json(self, value: Any) -> Any:
        """A decoded JSON value without secrets; the same object when there is nothing to hide.

        Names of members obey the text rules too; of two that become the same the later stays. A
        value too deep to be walked is hidden whole.
        """
        try:
            return self._walk(value)
        except RecursionError:
            return MARK

    def redact_raw(self, raw: RawJSON) -> RawJSON:
        """JSON text without secrets; the same object when there is nothing to hide.

        What looks suspicious and can not be read, or is longer than ``SEARCHED_MAX``, can not be
        checked either: it is hidden whole.
        """
        if not self._is_suspicious(raw.data):
            return raw
        if len(raw.data) > SEARCHED_MAX:
            return RawJSON.of(MARK)
        repeated: list[bool] = []

        def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            found = dict(pairs)
            if len(found) != len(pairs):
                repeated.append(True)
            return found

        try:
            value = json.loads(raw.data.decode(), object_pairs_hook=members)
            clean = self._walk(value)
            # Of a repeated member readers see the last one only, but the text shows them all.
            if clean is value and not repeated:
                return raw
            text = json.dumps(clean, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (RecursionError, ValueError):
            return RawJSON.of(MARK)
        # Half of a surrogate pair may be escaped in JSON text, but has no bytes of its own.
        return RawJSON(text.encode("utf-8", "replace"))

    def redact_run(self, run: TextRun) -> TextRun:
        """Chunks with their texts redacted, and their raw values when somebody looks at one."""
        redact = self._redact_as_of_now
        if redact is None:
            frozen = Redactor()
            frozen._secrets, frozen._needles = self._secrets, self._needles
            redact = self._redact_as_of_now = frozen._redacted_data
        texts = run.texts
        # One look at all: a text may be suspicious only if what holds it is.
        if self._may_hide("\n".join(texts)):
            texts = [self.redact(text) for text in texts]
        return TextRun(run.template, texts, run.raws, redact)

    def _redacted_data(self, raw: RawJSON) -> bytes:
        return self.redact_raw(raw).data

    def _may_hide(self, text: str) -> bool:
        """A cheap look at which most chunks end."""
        if ":" in text or "=" in text:
            return True
        # Without a separator only rules 2, 3 and 6 can match.
        lowered = text.lower()
        if "bearer" in lowered or CLAIM_PREFIX in lowered:
            return True
        return any(secret in text for secret in self._secrets)

    def _order(self) -> None:
        self._redact_as_of_now = None
        self._secrets = tuple(sorted(self._counts, key=lambda s: (-len(s), s)))
        self._needles = tuple(
            msgspec.json.encode(s.encode("utf-8", "replace").decode())[1:-1] for s in self._secrets
        )

    def _release(self, secret: str) -> None:
        self._counts[secret] -= 1
        if not self._counts[secret]:
            del self._counts[secret]
        self._order()

    def _is_suspicious(self, data: bytes) -> bool:
        lowered = data.lower()
        for stem in _STEM_BYTES:
            if stem in lowered:
                return True
        # These two can spell any letter in a way the looks above and below do not see.
        if b"\\u" in data or b"\\/" in data:
            return True
        return any(needle in data for needle in self._needles)

    def _redact_to_the_end(self, text: str) -> str:
        # Hiding a secret may uncover a word boundary. Each round turns characters outside a mark
        # into a mark and none back, so there is a last one.
        shown = text
        while (following := self._hide_secrets(hide_values(shown))) != shown:
            shown = following
        return text if shown == text else shown

    def _hide_secrets(self, text: str) -> str:
        spans = [span for secret in self._secrets for span in _spans(text, secret)]
        if not spans:
            return text
        # Secrets may overlap each other or a mark: nothing of either may stay readable.
        merged: list[tuple[int, int]] = []
        for start, end in sorted((*spans, *_spans(text, MARK))):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        parts: list[str] = []
        last = 0
        for start, end in merged:
            parts += text[last:start], MARK
            last = end
        return "".join((*parts, text[last:]))

    def _walk(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            return self._walk_members(value)
        if isinstance(value, list | tuple):
            items = []
            changed = False
            for item in value:
                shown = self._walk(item)
                changed = changed or shown is not item
                items.append(shown)
            return items if changed else value
        return value

    def _walk_members(self, members: dict[Any, Any]) -> dict[Any, Any]:
        shown: dict[Any, Any] = {}
        changed = False
        for name, item in members.items():
            clean_name = self.redact(name) if isinstance(name, str) else name
            clean = MARK if is_secret_name(name) and _hides(item) else self._walk(item)
            changed = changed or clean is not item or clean_name is not name
            shown[clean_name] = clean
        return shown if changed else members


def redact_events(events: Sequence[AgentEvent], redactor: Redactor) -> Sequence[AgentEvent]:
    """Events as they may be shown, run by run."""
    return of_runs(
        [
            redactor.redact_run(run)
            if isinstance(run, TextRun)
            else redact_agent_event(run, redactor)
            for run in runs_of(events)
        ]
    )


def redact_agent_event(event: AgentEvent, redactor: Redactor) -> AgentEvent:
    """The event with every display field and its raw JSON redacted (03 3.3).

    Ids, correlation and usage stay. The same object when there is nothing to hide.
    """
    changes: dict[str, Any] = {
        name: shown
        for name in TEXT_FIELDS
        if (text := getattr(event, name)) and (shown := redactor.redact(text)) is not text
    }
    if event.failure is not None:
        changes["failure"] = _redact_failure(event.failure, redactor)
    if event.synthetic:
        changes["synthetic"] = _redact_texts(event.synthetic, SYNTHETIC_FIELDS, redactor)
    if event.runtime:
        shown_names = event.runtime.keys() - RUNTIME_EXEMPT
        changes["runtime"] = _redact_texts(event.runtime, shown_names, redactor)
    if event.raw is not None:
        changes["raw"] = redactor.redact_raw(event.raw)
    if all(getattr(event, name) is value for name, value in changes.items()):
        return event
    return msgspec.structs.replace(event, **changes)


def redact_meta(meta: SessionMeta, redactor: Redactor) -> SessionMeta:
    """The document with nothing secret in what people and agents wrote into it."""
    failure = meta.failure and _redact_failure(meta.failure, redactor)
    return replace(meta, stop_detail=redactor.redact(meta.stop_detail), failure=failure)


def _redact_failure(failure: SessionFailure, redactor: Redactor) -> SessionFailure:
    summary = redactor.redact(failure.summary)
    path = redactor.redact(failure.crash_bundle_path)
    if summary is failure.summary and path is failure.crash_bundle_path:
        return failure
    return replace(failure, summary=summary, crash_bundle_path=path)


def _redact_texts(
    texts: dict[str, Any], names: Collection[str], redactor: Redactor
) -> dict[str, Any]:
    shown = {
        name: redactor.redact(value) if name in names and isinstance(value, str) else value
        for name, value in texts.items()
    }
    return texts if shown == texts else shown


def _spans(text: str, part: str) -> list[tuple[int, int]]:
    found = []
    start = text.find(part)
    while start >= 0:
        found.append((start, start + len(part)))
        start = text.find(part, start + 1)
    return found


def _hides(value: Any) -> bool:
    """Whether there is a text in a secret member's value that is not hidden yet."""
    match value:
        case str():
            return MARK not in value
        case dict():
            return any(_hides(item) for item in value.values())
        case list() | tuple():
            return any(_hides(item) for item in value)
        case _:
            return False


def _nothing() -> None:
    """The release of a secret that was not registered."""
