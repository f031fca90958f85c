"""A webhook receiver that keeps everything and answers as it is told to."""

import collections
import http.server
import json
import threading
import time

from .waiting import until

Post = collections.namedtuple("Post", "at path headers body")


class Receiver:
    """Listens on loopback until it is closed; may be closed and opened again on the same port."""

    def __init__(self):
        self.posts = []
        self.answer = lambda post: 204
        self.port = 0
        self.open()

    def open(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                post = Post(time.monotonic(), self.path, self.headers, body)
                receiver.posts.append(post)
                status, headers = receiver.answer(post), {}
                if isinstance(status, tuple):
                    status, headers = status
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                """The posts are the log."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            # An edge that was killed leaves connections behind; they are no news.
            handle_error = lambda *_: None

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def url(self, path="/"):
        return f"http://127.0.0.1:{self.port}{path}"

    def events(self, call=None, path=None):
        """The bodies of all posts, first copies only, in the order they came."""
        seen = {}
        for post in list(self.posts):
            event = json.loads(post.body)
            if call in (None, event["call_id"]) and path in (None, post.path):
                seen.setdefault(post.headers["X-CallingEdge-Event-Id"], event)
        return list(seen.values())

    def kinds(self, call=None, path=None):
        return [event["kind"] for event in self.events(call, path)]

    def last_event(self, call=None, within=15):
        """The event that says why the call ended, once it is there."""
        lasts = lambda: [event for event in self.events(call) if event["edge"]["end_reason"]]
        return until(lasts, within, "the last event")[0]
