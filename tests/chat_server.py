"""A chat-completions server that knows the planted words and fails as it is told."""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from nanosae.analysis.llm import prompts

SECRET = "sk-never-write-this-down"


class Server:
    """Speaks chat-completions; knows the planted words; does what `fault` says first."""

    def __init__(self, planted):
        self.topics = {
            word: j for j, words in enumerate(planted.words) for word in words
        }
        self.names = {name: j for j, name in enumerate(planted.names)}
        self.requests, self.headers, self.lock = [], [], threading.Lock()
        self.under_way = self.most_at_once = 0
        # a status, a body (str), a pause (float) or None
        self.fault = lambda number: None
        self.pause, self.judge = 0.0, None
        self.usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or the body waits 40 ms for the head

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.answer(self, json.loads(body))

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(
            target=self.http.serve_forever, args=(0.01,), daemon=True
        )
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    @property
    def prompts(self):
        return [request["messages"][0]["content"] for request in self.requests]

    def answer(self, handler, request):
        with self.lock:
            number = len(self.requests)
            self.requests.append(request)
            self.headers.append(handler.headers)
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
        time.sleep(self.pause)
        fault, status = self.fault(number), 200
        if isinstance(fault, float):
            time.sleep(fault)
        # any JSON value, as servers do
        said = self.say(request["messages"][0]["content"])
        body = json.dumps(
            {
                "id": str(number),
                "object": "chat.completion",
                "created": 0,
                "model": request["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": said},
                    }
                ],
                "usage": self.usage,
            }
        )
        if isinstance(fault, int):
            status, body = (
                fault,
                json.dumps({"error": {"message": f"your key {SECRET} is bad"}}),
            )
        elif isinstance(fault, str):
            body = fault
        try:
            handler.send_response(status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(body.encode())))
            handler.send_header("retry-after-ms", "1")
            handler.end_headers()
            handler.wfile.write(body.encode())
        except OSError:  # the client has given up
            pass
        with self.lock:
            self.under_way -= 1

    def say(self, prompt):
        """Name the commonest topic of the active texts; judge by the planted words."""
        if prompt.startswith(prompts.INTERPRET[:30]):
            _, _, shown = prompt.partition("\nACTIVE:\n")
            active, _, inactive = shown.partition("\nINACTIVE:\n")
            votes = np.zeros(len(self.names))
            for part, sign in ((active, 1), (inactive, -0.5)):
                for text in re.findall("<text>(.*?)</text>", part, re.DOTALL):
                    votes[
                        list({self.topics[w] for w in text.split() if w in self.topics})
                    ] += sign
            return f"They share it.\nFINAL: {[*self.names][int(votes.argmax())]}"
        if self.judge is not None:
            return self.judge(prompt)
        about = prompt.splitlines()[0].rpartition(": ")[2]
        topic = self.names.get(about, -1)
        texts = re.findall("<text>(.*?)</text>", prompt, re.DOTALL)
        fits = [
            any(self.topics.get(w) == topic for w in text.split()) for text in texts
        ]
        if "PREDICTION:" in prompt:
            return f"Clear.\nPREDICTION: {0.9 if fits[0] else -0.8}"
        numbers = [str(i) for i, fit in enumerate(fits, 1) if fit]
        return f"MATCHES: {', '.join(numbers) or 'none'}"
