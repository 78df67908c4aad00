"""What a peer may do: three roles, each including the ones before it; pure."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """Of a key, or of whoever can enter the directory of the local sockets."""

    READ = "read"
    """Follow events and ask for what is stored."""
    OPERATE = "operate"
    """Also create sessions, prompt, steer, answer permission requests, stop."""
    ADMIN = "admin"
    """Also repair, delete, shut down, manage keys."""

    def allows(self, needed: Role) -> bool:
        """Whether who has this role may do what needs ``needed``."""
        return _RANK[self] >= _RANK[needed]


_RANK = {Role.READ: 0, Role.OPERATE: 1, Role.ADMIN: 2}
