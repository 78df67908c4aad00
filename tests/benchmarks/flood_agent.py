"""An ACP agent that answers a prompt with N update lines as fast as the pipe takes them.

The prompt is the number of lines. It speaks the wire by hand, so that it costs the same whoever
drives it.
"""

import json
import os
import sys

LINE = {
    "jsonrpc": "2.0",
    "method": "session/update",
    "params": {
        "sessionId": "s-1",
        "update": {
            "sessionUpdate": "agent_message_chunk",
            "content": {"type": "text", "text": "word " * 56},
            "messageId": "m-1",
        },
    },
}


def send(**message):
    write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def write(data):
    while data:
        data = data[os.write(1, data) :]


def main():
    line = json.dumps(LINE).encode() + b"\n"
    for text in sys.stdin:
        message = json.loads(text)
        match message.get("method"):
            case "initialize":
                send(id=message["id"], result={"protocolVersion": 1})
            case "session/new":
                send(id=message["id"], result={"sessionId": "s-1"})
            case "session/prompt":
                left = int(message["params"]["prompt"][0]["text"])
                while left:
                    count = min(left, 100)
                    write(line * count)
                    left -= count
                send(id=message["id"], result={"stopReason": "end_turn"})


if __name__ == "__main__":
    main()
