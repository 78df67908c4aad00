"""The facade: SessionManager, its asyncio twin, and the defaults it is built with."""
