"""An ACP agent in a few lines: it plays its turns as its first argument says.

``well`` answers at once; ``busy`` speaks every 0.2 s for as long as the prompt says; ``silent``
takes the prompt and says nothing more; ``stopped`` stops itself with SIGSTOP; ``deaf`` reads no
more input; ``endless`` sends output without end. A second argument is a mark, to find it by. All
but ``well`` and ``busy`` are so only until a file of the mark's name exists in the working
directory, which they make: started again, they are well.
"""

import json
import os
import select
import signal
import sys

UPDATE = {
    "sessionUpdate": "agent_message_chunk",
    "content": {"type": "text", "text": "word "},
    "messageId": "m-1",
}


def pause(seconds):
    select.select([], [], [], seconds)


def send(**message):
    data = json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def update(session_id):
    send(method="session/update", params={"sessionId": session_id, "update": UPDATE})


def misbehave(mood, session_id):
    match mood:
        case "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "endless":
            while True:
                update(session_id)
                pause(0.001)
        case _:
            while True:
                pause(60)


def play(mood, message):
    session_id = message["params"]["sessionId"]
    text = message["params"]["prompt"][0]["text"]
    if mood == "busy":
        for _ in range(int(text.split()[0]) * 5):
            update(session_id)
            pause(0.2)
    elif mood != "well" and not os.path.exists(sys.argv[2]):
        open(sys.argv[2], "w").close()
        misbehave(mood, session_id)
    update(session_id)
    send(id=message["id"], result={"stopReason": "end_turn"})


def main():
    for text in sys.stdin:
        message = json.loads(text)
        match message.get("method"):
            case "initialize":
                caps = {"loadSession": True}
                result = {"protocolVersion": 1, "agentCapabilities": caps}
                send(id=message["id"], result=result)
            case "session/new":
                send(id=message["id"], result={"sessionId": "s-1"})
            case "session/load":
                send(id=message["id"], result={})
            case "session/prompt":
                play(sys.argv[1], message)


main()
