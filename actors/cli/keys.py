"""The keys that answer a permission request."""

from __future__ import annotations

ANSWERS = {
    "y": "allow-once",
    "a": "allow-always",
    "n": "reject-once",
    "r": "reject-always",
}
"""The decision of each key."""
