"""Decisions about a session, pure: every function takes what it needs, also the time."""
