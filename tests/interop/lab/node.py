"""An engine node that has many calls on one socket (`edge.mux.v1`): it takes every call and says what it hears."""

import json
import struct
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from . import dialect

RECORD = struct.Struct(">IH")


def records(batch):
    """(call, frame) of every record."""
    assert batch[0] == 2, batch[:16]
    at, read = dialect.HEADER.size, []
    while at < len(batch):
        call, length = RECORD.unpack_from(batch, at)
        at += RECORD.size
        assert at + length <= len(batch), "a record is cut"
        read.append((call, batch[at:at + length]))
        at += length
    assert len(read) == dialect.HEADER.unpack_from(batch)[5], "records are counted"
    return read


def batch(frames):
    """A binary message of (call, frame)."""
    return dialect.HEADER.pack(2, 0, 0, 0, 0, len(frames), 0) + b"".join(
        RECORD.pack(call, len(frame)) + frame for call, frame in frames)


class Node:
    def __init__(self):
        self.sockets = []
        self.server = serve(self.talk, "127.0.0.1", 0, subprotocols=["edge.mux.v1"], compression=None, ping_interval=None)
        self.port = self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/"

    def end(self):
        self.server.shutdown()

    def talk(self, socket):
        line = Line(socket)
        self.sockets.append(line)
        try:
            line.talk()
        except ConnectionClosed:
            """The socket broke while something was said."""
        finally:
            line.closed = socket.close_code
            line.over.set()


class Line:
    """One socket: all messages that came on it, and the frames of each call."""

    def __init__(self, socket):
        self.socket, self.messages, self.frames, self.batches = socket, [], {}, []
        self.closed, self.over = None, threading.Event()

    def talk(self):
        for message in self.socket:
            if isinstance(message, str):
                self.take(json.loads(message))
                continue
            read = records(message)
            self.batches.append([call for call, _ in read])
            echoes = []
            for call, frame in read:
                fields, audio = dialect.read_frame(frame)
                self.frames.setdefault(call, []).append(fields)
                echoes.append((call, dialect.HEADER.pack(1, 2, 0, dialect.CODECS["pcmu"], fields["seq"], 0, 1) + audio))
            self.socket.send(batch(echoes))

    def take(self, message):
        self.messages.append(message)
        call = message["call"]
        if message["type"] == "start":
            self.say(call, type="accept", resume=True)
        if message["type"] == "resume":
            self.say(call, type="accept")

    def say(self, call, **message):
        self.socket.send(json.dumps({"call": call, **message}))

    def told(self, kind, call=None):
        return [message for message in list(self.messages)
                if message["type"] == kind and call in (None, message["call"])]
