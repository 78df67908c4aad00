"""greenroom inside an asyncio program: two sessions at once, streams as async iterators.

python examples/embed_asyncio.py
"""

import asyncio
import tempfile

from greenroom.actors import SessionManager


async def converse(manager: SessionManager, name: str, workspace: str) -> int:
    """One session from start to stop; returns how many events it streamed."""
    session = await manager.aio.create(
        agent_name="demo", workspace_path=workspace, name=name, permissions="approve-all"
    )
    stream = await manager.aio.prompt(session.id, f"@@say I am the {name} session")
    count = 0
    async for event in stream:
        count += 1
        if event.type == "agent_message":
            print(f"[{name}] {event.text!r}")
    await manager.aio.stop(session.id)
    return count


async def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        manager = SessionManager(home=home)
        try:
            counts = await asyncio.gather(
                converse(manager, "first", home), converse(manager, "second", home)
            )
        finally:
            await manager.aio.close()
        print(f"events: {counts}")


if __name__ == "__main__":
    asyncio.run(main())
