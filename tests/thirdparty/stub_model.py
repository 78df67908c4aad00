"""A model server on the loopback whose prompts are its scripts, so that real agents need no key.

A prompt holds one line ``STUB {...}``; the object says what the model does:
``say`` (text, in words), ``slow`` ([chunks, seconds]), ``tools`` ([[name, arguments], ...], one in
each step, before the text), ``fail`` (an HTTP status). Without such a line it says ``ok``.
Speaks the streaming forms of OpenAI's chat completions and responses, of which agents use one.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MARK = "STUB "


def script(**directives):
    """A prompt that makes the model do this."""
    return MARK + json.dumps(directives)


def directives_of(text):
    """The object of the last script in a text."""
    if MARK not in text:
        return {}
    found, _ = json.JSONDecoder().raw_decode(text.rpartition(MARK)[2])
    return found


def flat(content):
    """The text of a message's content, whichever form it has."""
    if isinstance(content, list):
        return "\n".join(flat(part) for part in content)
    if isinstance(content, dict):
        return flat(content.get("text") or content.get("content") or "")
    return content or ""


class Step:
    """What the model does in answer to one request."""

    def __init__(self, prompt, results):
        wanted = directives_of(prompt)
        tools = wanted.get("tools", [])
        self.fail = wanted.get("fail")
        self.tool = tools[results] if results < len(tools) else None
        self.number = results
        chunks, self.pause = wanted.get("slow", (0, 0.0))
        words = [f"tick {n} " for n in range(chunks)]
        self.words = words or [f"{word} " for word in wanted.get("say", "ok").split(" ")]


def of_chat(body):
    """The step a request for chat completions asks for."""
    results, prompt = 0, ""
    for message in body["messages"]:
        if message["role"] == "user":
            results, prompt = 0, flat(message["content"])
        results += message["role"] == "tool"
    return Step(prompt, results)


def of_responses(body):
    """The step a request for a response asks for."""
    results, prompt = 0, ""
    given = body["input"] if isinstance(body["input"], list) else [{"content": body["input"]}]
    for item in given:
        if item.get("type", "message") == "message" and item.get("role", "user") == "user":
            text = flat(item["content"])
            if MARK in text:
                results, prompt = 0, text
        results += item.get("type", "").endswith("_call_output")
    return Step(prompt, results)


class Handler(BaseHTTPRequestHandler):
    """One request for one step."""

    protocol_version = "HTTP/1.0"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._json({"object": "list", "data": [{"id": "stub", "object": "model"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_chat = self.path.endswith("/chat/completions")
        step = of_chat(body) if is_chat else of_responses(body)
        if step.fail:
            self._json({"error": {"message": "the stub was told to fail"}}, step.fail)
            return
        if is_chat and not body.get("stream"):
            message = {"role": "assistant", "content": "".join(step.words)}
            self._json(completion([{"index": 0, "message": message, "finish_reason": "stop"}]))
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            for event in chat_events(step) if is_chat else response_events(step):
                name = f"event: {event['type']}\n" if "type" in event else ""
                self._write(f"{name}data: {json.dumps(event)}\n\n")
            self._write("data: [DONE]\n\n")
        except OSError:
            pass  # the agent was cancelled, or killed

    def _write(self, text):
        self.wfile.write(text.encode())
        self.wfile.flush()

    def _json(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def completion(choices, kind="chat.completion", **more):
    return {
        "id": "stub-1",
        "object": kind,
        "created": int(time.time()),
        "model": "stub",
        "choices": choices,
        "usage": USAGE,
        **more,
    }


def chat_events(step):
    """The chunks of a streamed chat completion."""

    def chunk(delta, reason=None):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return completion([choice], "chat.completion.chunk", usage=None)

    if step.tool is not None:
        name, arguments = step.tool
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"index": 0, "id": f"call-{step.number}", "type": "function", "function": function}
        yield chunk({"role": "assistant", "content": None, "tool_calls": [call]})
        yield chunk({}, "tool_calls")
    else:
        yield chunk({"role": "assistant", "content": ""})
        for word in step.words:
            yield chunk({"content": word})
            threading.Event().wait(step.pause)
        yield chunk({}, "stop")
    yield completion([], "chat.completion.chunk")


def response_events(step):
    """The events of a streamed response."""
    yield {"type": "response.created", "response": {"id": "resp-1"}}
    if step.tool is not None:
        name, arguments = step.tool
        item = {
            "type": "function_call",
            "id": f"fc-{step.number}",
            "call_id": f"call-{step.number}",
            "name": name,
            "arguments": json.dumps(arguments),
        }
    else:
        item = {"type": "message", "id": "msg-1", "role": "assistant", "content": []}
        yield {"type": "response.output_item.added", "output_index": 0, "item": item}
        for word in step.words:
            yield {
                "type": "response.output_text.delta",
                "item_id": "msg-1",
                "output_index": 0,
                "content_index": 0,
                "delta": word,
            }
            threading.Event().wait(step.pause)
        text = {"type": "output_text", "text": "".join(step.words), "annotations": []}
        item = {**item, "content": [text]}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    yield {"type": "response.completed", "response": {"id": "resp-1", "usage": usage}}


class StubModel:
    """The server, in threads of its own."""

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._server.server_close()
