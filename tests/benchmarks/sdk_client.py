"""The peer: the ACP SDK's own client with an empty callback, driving the same agent.

Prints one JSON line per prompt: seconds and CPU seconds. Arguments: prompts, updates, agent argv.
"""

import asyncio
import json
import sys
import time

import acp


class Client(acp.Client):
    """Takes every update and does nothing with it."""

    def on_connect(self, conn):
        """Nothing to keep."""

    async def session_update(self, session_id, update, **kwargs):
        """Nothing."""


async def main(prompts, updates, argv):
    began = time.perf_counter()
    async with acp.spawn_agent_process(Client(), *argv) as (connection, _process):
        await connection.initialize(protocol_version=1)
        session = await connection.new_session(cwd="/", mcp_servers=[])
        print(json.dumps({"create": time.perf_counter() - began}), flush=True)
        for _ in range(prompts):
            wall, cpu = time.perf_counter(), time.process_time()
            await connection.prompt(
                session_id=session.session_id, prompt=[acp.text_block(str(updates))]
            )
            told = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            print(json.dumps(told), flush=True)


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
