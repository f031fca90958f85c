"""An engine of a few lines: a websocket server in this process, one thread a call."""

import json
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from . import dialect


class Engine:
    """`talk(call)` runs for every call; the call ends with it."""

    def __init__(self, talk, subprotocol=None):
        self.calls = []

        def handle(socket):
            call = Call(socket)
            self.calls.append(call)
            try:
                talk(call)
            except ConnectionClosed:
                """The edge let go of the call first."""
            finally:
                call.over.set()

        self.server = serve(handle, "127.0.0.1", 0, subprotocols=[subprotocol] if subprotocol else None, compression=None,
                            ping_interval=None)
        self.port = self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/"

    def end(self):
        self.server.shutdown()


class Call:
    """One call's socket, and everything that came over it: (time, message), JSON already read."""

    def __init__(self, socket):
        self.socket, self.heard, self.over = socket, [], threading.Event()

    def next(self, within=None):
        message = self.socket.recv(timeout=within)
        if isinstance(message, str):
            message = json.loads(message)
        self.heard.append((time.monotonic(), message))
        return message

    def wait_for(self, word, value, within=10):
        """The next message whose `word` is `value`: `event` in the Twilio dialect, `type` in edge.v1."""
        deadline = time.monotonic() + within
        while True:
            message = self.next(deadline - time.monotonic())
            if isinstance(message, dict) and message[word] == value:
                return message

    def listen(self):
        """Until the edge closes the socket."""
        while True:
            self.next()

    def say(self, **message):
        self.socket.send(json.dumps(message))

    def messages(self, word, value):
        return [(at, message) for at, message in list(self.heard) if isinstance(message, dict) and message.get(word) == value]


def patient(call):
    """Takes every call and says nothing."""
    call.listen()


def echo(call):
    """Of edge.v1: takes the call and says back what it hears, in the same frames."""
    segment, seq = 1, 0
    call.wait_for("type", "start")
    call.say(type="accept", id="a1")
    while True:
        message = call.next()
        if isinstance(message, bytes):
            header = dialect.HEADER.pack(1, 2, 0, message[3], seq, 0, segment)
            call.socket.send(header + message[dialect.HEADER.size:])
            seq += 1
