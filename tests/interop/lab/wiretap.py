"""Stands between the edge and an engine and keeps every message of both, unchanged."""

import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve


class Wiretap:
    """`to_engine` and `to_edge`: (time, message) of all calls."""

    def __init__(self, engine_url, subprotocol):
        self.to_engine, self.to_edge, self.closes = [], [], []

        def handle(edge):
            with connect(engine_url, subprotocols=[subprotocol], compression=None) as engine:
                back = threading.Thread(target=self._carry, args=(engine, edge, self.to_edge))
                back.start()
                self._carry(edge, engine, self.to_engine)
                back.join()

        self.server = serve(handle, "127.0.0.1", 0, subprotocols=[subprotocol], compression=None)
        self.port = self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/"

    def end(self):
        self.server.shutdown()

    def _carry(self, source, sink, kept):
        try:
            for message in source:
                kept.append((time.monotonic(), message))
                sink.send(message)
        except ConnectionClosed:
            """Told below."""
        self.closes.append((kept is self.to_engine, source.close_code, source.close_reason))
        sink.close(source.close_code if source.close_code in (1000, 1001) else 1011)
