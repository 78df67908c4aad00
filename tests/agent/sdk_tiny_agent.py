"""A small agent on the ACP SDK, for when its own example can not be fetched."""

import asyncio

from acp import (
    Agent,
    InitializeResponse,
    NewSessionResponse,
    PromptResponse,
    run_agent,
    text_block,
    update_agent_message,
)


class TinyAgent(Agent):
    """Says back what it was told, and whether the client gave it the README."""

    def on_connect(self, conn):
        self._conn = conn

    async def initialize(self, protocol_version, **kwargs):
        return InitializeResponse(protocol_version=protocol_version)

    async def new_session(self, cwd, **kwargs):
        self._cwd = cwd
        return NewSessionResponse(session_id="tiny")

    async def prompt(self, prompt, session_id, **kwargs):
        read = await self._conn.read_text_file(path=f"{self._cwd}/README.md", session_id=session_id)
        for text in (prompt[0].text, read.content):
            update = update_agent_message(text_block(text))
            await self._conn.session_update(session_id=session_id, update=update)
        return PromptResponse(stop_reason="end_turn")


if __name__ == "__main__":
    asyncio.run(run_agent(TinyAgent()))
