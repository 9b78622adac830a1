# Whoever listens to webhooks, on a free port of this machine: verifies what comes with Standard Webhooks' own library, keeps it, and
# answers as it is told. `POST /control` with {"secret", "answer", "retry_after"} tells it; `GET /control` gives what came since the last time. With a file
# of key and certificate it listens on a second port as well, over TLS. Prints its ports.
import json
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

state = {"secret": None, "answer": "verify", "retry_after": None, "came": []}
HANG_S = 60


def is_signed(headers, body):
    """The library's own signature, whatever this machine's clock says: for a sender on a virtual one."""
    from datetime import datetime, timezone

    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=timezone.utc)
    expected = Webhook(state["secret"]).sign(headers["webhook-id"], at, body.decode())
    return expected in headers["webhook-signature"].split(" ")


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path != "/control":
            state["came"].append({"followed": self.path})
            return self.answer(200)
        came, state["came"] = state["came"], []
        self.answer(200, json.dumps(came).encode(), Content_Type="application/json")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/control":
            state.update(json.loads(body))
            return self.answer(200)
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            Webhook(state["secret"]).verify(body, headers)
            fault = None
        except WebhookVerificationError as error:
            fault = str(error)
        state["came"].append(
            {
                "id": headers.get("webhook-id"),
                "path": self.path,
                "verified": fault is None,
                "fault": fault,
                "signed": is_signed(headers, body),
                "body": body.decode(),
                "headers": headers,
            }
        )
        answer = state["answer"]
        if answer == "hang":
            time.sleep(HANG_S)
        elif answer == "reset":
            self.close_connection = True
            self.connection.close()
        elif answer == "redirect":
            self.answer(302, Location="/elsewhere")
        elif answer == "verify":
            self.answer(204 if fault is None else 400)
        elif answer == "large":
            self.answer(200, b"x" * (8 << 20))
        else:
            later = {"Retry-After": state["retry_after"]} if state["retry_after"] else {}
            self.answer(int(answer), **later)


servers = [ThreadingHTTPServer(("127.0.0.1", 0), Receiver)]
if len(sys.argv) > 1:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1])
    secured = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    # The handshake is made by the thread that answers: one that fails ends that one alone.
    secured.socket = context.wrap_socket(secured.socket, server_side=True, do_handshake_on_connect=False)
    secured.handle_error = lambda *_: None
    servers.append(secured)
print(*(server.server_port for server in servers), flush=True)
sys.stdout.close()
for server in servers:
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
try:
    threading.Event().wait()
except KeyboardInterrupt:
    pass
