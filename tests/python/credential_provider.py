# A third party and the provider that rotates what it accepts, on a free port of this machine: the four steps of docs/vault.md, verified
# with Standard Webhooks' own library. `POST /control` with {"secret", "accepts", "flaky", "answers"} tells it what calls are signed with, what is
# accepted, how often each step is refused first, and with which status a step is answered instead of being done; `GET /control` gives
# what is accepted and which steps came. Prints its port.
import json
import secrets
import sys
import threading
from collections import Counter
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook

state = {"secret": None, "accepts": [], "flaky": 0, "answers": {}, "steps": [], "made": {}}
tries = Counter()


def is_signed(headers, body):
    """The library's own signature, whatever this machine's clock says: Keyward's may be a virtual one."""
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=timezone.utc)
    expected = Webhook(state["secret"]).sign(headers["webhook-id"], at, body.decode())
    return expected in headers["webhook-signature"].split(" ")


def value(call, version):
    return call[version]["value"]["value"]


def do(call):
    """Does one step, which may come again; the status and the answer."""
    accepts, made = state["accepts"], state["made"]
    match call["step"]:
        case "create":
            secret = made.setdefault(call["rotation"], "made-" + secrets.token_hex(16))
            return 200, {"value": {"value": secret}}
        case "set":
            accepts.append(value(call, "pending"))
        case "test":
            return (204 if value(call, "pending") in accepts else 422), None
        case "finish":
            state["accepts"] = [one for one in accepts if one != value(call, "previous")]
        case "roll_back":
            gone = value(call, "pending") if "pending" in call else None
            state["accepts"] = [one for one in accepts if one != gone]
    return 204, None


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, told=None):
        body = b"" if told is None else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, {"accepts": state["accepts"], "steps": state["steps"]})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/control":
            state.update(json.loads(body))
            return self.answer(200, {})
        if not is_signed({name.lower(): text for name, text in self.headers.items()}, body):
            return self.answer(401)
        call = json.loads(body)
        state["steps"].append(call["step"])
        tries[self.headers["webhook-id"]] += 1
        if call["step"] in state["answers"]:
            # What it says beside its status is nobody's business, and may be a secret.
            return self.answer(state["answers"][call["step"]], {"error": "canary-of-the-provider"})
        if tries[self.headers["webhook-id"]] <= state["flaky"]:
            return self.answer(503)
        self.answer(*do(call))


server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
server.daemon_threads = True
print(server.server_port, flush=True)
sys.stdout.close()
threading.Thread(target=server.serve_forever, daemon=True).start()
try:
    threading.Event().wait()
except KeyboardInterrupt:
    pass
