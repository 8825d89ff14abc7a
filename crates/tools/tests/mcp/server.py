"""A server of the Model Context Protocol for tests, on Python's standard library alone: `server.py stdio|http [--newer]`.

Over HTTP it prints its address first. With `--newer` it refuses the handshake `initialize` and speaks revision 2026-07-28.
"""

import http.server
import json
import os
import sys
import threading
import time

NEWER = "--newer" in sys.argv
CANCELED = threading.Event()
EXTRA = []


def tool(name, **more):
    return {"name": name, "description": f"What {name} does.", "inputSchema": {"type": "object", "properties": {
        "text": {"type": "string"}}}, **more}


PAGES = {None: [tool("echo"), tool("get-env"), tool("fail"), tool("refuse")],
         "2": [tool("sleep"), tool("canceled"), tool("die"), tool("image"), tool("grow"), tool("ask"), tool("headers")]}


def text(value, **more):
    return {"content": [{"type": "text", "text": value}], **more}


def call(name, arguments, headers, tell):
    if name == "echo":
        return text(arguments.get("text", ""))
    if name == "get-env":
        return text(" ".join(sorted(os.environ)))
    if name == "fail":
        return text("it did not work", isError=True)
    if name == "sleep":
        CANCELED.clear()
        time.sleep(float(arguments["text"]))
        return text("slept")
    if name == "canceled":
        return text(str(CANCELED.wait(5)))
    if name == "die":
        print("I was told\nto die", file=sys.stderr, flush=True)
        os._exit(3)
    if name == "image":
        return {"content": [{"type": "image", "data": "AAEC", "mimeType": "image/png"}]}
    if name == "grow":
        EXTRA.append(tool("grown"))
        tell({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        return text("grew")
    if name == "ask":
        tell({"jsonrpc": "2.0", "id": "mine", "method": "sampling/createMessage",
              "params": {"messages": [], "maxTokens": 1}})
        return text("asked")
    if name == "headers":
        return text(json.dumps(headers))
    raise KeyError(name)


def answer(message, headers, tell):
    """The response to a message, or nothing."""
    method, params = message.get("method"), message.get("params") or {}
    if method == "notifications/cancelled":
        CANCELED.set()
    if "id" not in message or method is None:
        return None

    def result(**value):
        more = {"resultType": "complete"} if NEWER else {}
        return {"jsonrpc": "2.0", "id": message["id"], "result": {**more, **value}}

    def error(code, words):
        return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": code, "message": words}}

    about = {"instructions": "Says what it is told.", "capabilities": {"tools": {"listChanged": True}}}
    if method == "initialize" and not NEWER:
        return result(protocolVersion=params["protocolVersion"], serverInfo={"name": "test", "version": "1"}, **about)
    if method == "server/discover" and NEWER:
        return result(supportedVersions=["2026-07-28"], ttlMs=0, cacheScope="private", **about)
    if method == "tools/list":
        cursor = params.get("cursor")
        more = {"nextCursor": "2"} if cursor is None else {}
        times = {"ttlMs": 0, "cacheScope": "private"} if NEWER else {}
        return result(tools=PAGES[cursor] + (EXTRA if cursor else []), **more, **times)
    if method == "tools/call":
        if params["name"] == "refuse":
            return error(-32602, "not today\u202e")
        return result(**call(params["name"], params.get("arguments") or {}, headers, tell))
    return error(-32601, f"no method {method}")


def stdio():
    lock = threading.Lock()

    def tell(message):
        with lock:
            print(json.dumps(message), flush=True)

    def run(message):
        found = answer(message, {}, tell)
        if found:
            tell(found)

    print("a line that is not of the protocol", flush=True)
    for line in sys.stdin:
        threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, kind="text/plain", body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(405)

    def do_DELETE(self):
        self.reply(200)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/moved":
            return self.reply(307, Location="/mcp")
        if self.path == "/locked":
            return self.reply(401, body=b"who\nare you?")
        if self.path != "/mcp":
            return self.reply(404, "text/html", b"<h1>nothing here</h1>")
        message = json.loads(body)
        told = []
        found = answer(message, dict(self.headers), told.append)
        if found is None:
            return self.reply(202)
        name = (message.get("params") or {}).get("name")
        session = {} if NEWER or message["method"] != "initialize" else {"Mcp_Session_Id": "s1"}
        if name == "image":
            return self.reply(200, "application/json", json.dumps(found).encode())
        events = "".join(f"event: message\r\ndata: {json.dumps(event)}\r\n\r\n" for event in [*told, found])
        self.reply(200, "text/event-stream; charset=utf-8", events.encode(), **session)


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


{"stdio": stdio, "http": serve}[sys.argv[1]]()
