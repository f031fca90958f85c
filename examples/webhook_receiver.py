#!/usr/bin/env python3
"""A webhook receiver: verifies every event's signature and prints it. Standard library only.

    CALLINGEDGE_WEBHOOK_SECRET=... python3 examples/webhook_receiver.py [port]

Answers 204 once an event is taken, 401 when the signature is wrong: then the edge tries again, for 24 hours.
"""
import hashlib
import hmac
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["CALLINGEDGE_WEBHOOK_SECRET"].encode()
LONGEST = 1024 * 1024


def is_signed(body: bytes, header: str) -> bool:
    """While a secret is rotated the header carries two signatures; one that fits is enough."""
    expected = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    return any(hmac.compare_digest(expected, one.strip()) for one in header.split(","))


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: set[str] = set()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if length > LONGEST:
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(length)  # the raw bytes are signed, so verify before parsing
        if not is_signed(body, self.headers.get("X-CallingEdge-Signature", "")):
            return self.answer(401)
        event_id = self.headers["X-CallingEdge-Event-Id"]
        if event_id not in self.seen:  # at least once: the same event may come again
            self.seen.add(event_id)
            event = json.loads(body)
            print(event["occurred_at"], event["call_id"], event["edge"]["seq"], event["kind"],
                  event["edge"]["end_reason"] or "", flush=True)
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """The events are the log."""


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8085
    print(f"listening on http://127.0.0.1:{port}/", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
