"""Chat Completions in ChatML, in front of a server that continues tokens: both sides of real.py are asked through it.

A conversation is written as SmolLM2's own template has it and cut into tokens by llama.cpp, so both sides read the very same ids.
The likeliest token is taken at every step, and every answer's tokens are kept with their two likeliest.
"""

import http.server
import json
import threading
import urllib.request

# What the model's template says where there is no system message.
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
# `<|endoftext|>` and `<|im_end|>`, as the original file numbers them.
STOP_IDS = [0, 2]
# How long a server may take for one answer. Units: seconds.
ANSWER_SECONDS_MAX = 900


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS_MAX) as response:
        return json.load(response)


def written(messages):
    """The conversation as one text that ends where the model is to answer."""
    if messages[0]["role"] != "system":
        messages = [{"role": "system", "content": SYSTEM}, *messages]
    turns = [f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages]
    return "".join(turns) + "<|im_start|>assistant\n"


def ids_of(tokenizer, text):
    return post(f"{tokenizer}/tokenize", {"content": text, "add_special": False, "parse_special": True})["tokens"]


def of_ours(choice):
    """The tokens of an answer of `gptoss serve`: what each says, its log-probability and how far behind the second is."""
    logprobs = choice["logprobs"]
    return [
        (token, own, margin(top.values()))
        for token, own, top in zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"])
    ]


def of_theirs(choice):
    """The same of an answer of llama.cpp's server."""
    return [
        (token["token"], token["logprob"], margin(top["logprob"] for top in token["top_logprobs"]))
        for token in (choice["logprobs"] or {"content": []})["content"]
    ]


def margin(logprobs):
    # Ours are by their text: two that are parts of letters may have the same, and then there is one.
    first, second = [*sorted(logprobs, reverse=True), float("-inf")][:2]
    return first - second


class Shim:
    """Listens on a free port of 127.0.0.1 as long as the program runs; `answers` has each prompt's tokens as they were answered."""

    def __init__(self, server, tokenizer, tokens_of, more):
        self.server, self.tokenizer, self.tokens_of, self.more = server, tokenizer, tokens_of, more
        self.answers = {}
        shim = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                try:
                    status, reply = 200, shim.answer(body)
                except OSError as error:
                    status, reply = 502, {"error": {"message": f"{shim.server}: {error}"}}
                reply = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, asked):
        ids = ids_of(self.tokenizer, written(asked["messages"]))
        tokens_max = asked.get("max_completion_tokens") or asked["max_tokens"]
        body = {"prompt": ids, "max_tokens": tokens_max, "temperature": 0, "logprobs": 2, **self.more}
        completion = post(f"{self.server}/v1/completions", body)
        choice = completion["choices"][0]
        self.answers[tuple(ids)] = {"text": choice["text"], "tokens": self.tokens_of(choice)}
        message = {"role": "assistant", "content": choice["text"]}
        choice = {"index": 0, "message": message, "finish_reason": choice["finish_reason"]}
        return {"object": "chat.completion", "choices": [choice], "usage": completion["usage"]}
