"""RTP at the far end of calls whose SIP somebody else speaks: one thread for all of them, with the kernel's own times of arrival.

Where to send is learned from the first packet. Everyone says a tone, in PCMU, so that nobody takes them for absent.
"""

import contextlib
import selectors
import socket
import struct
import threading
import time

import numpy as np

FRAME = 160
SO_TIMESTAMPNS = 35
CONTROL = socket.CMSG_SPACE(16)


class Ears:
    def __init__(self):
        self.ears, self.over = [], False
        self.selector = selectors.DefaultSelector()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def new(self, says=None):
        ear = Ear(says)
        self.ears.append(ear)
        self.selector.register(ear.socket, selectors.EVENT_READ, ear)
        return ear

    def start(self):
        self.thread.start()

    def end(self):
        self.over = True
        if self.thread.is_alive():
            self.thread.join()
        for ear in self.ears:
            ear.socket.close()

    def _run(self):
        beat = time.monotonic()
        while not self.over:
            for key, _ in self.selector.select(max(0.0, beat - time.monotonic())):
                key.data.receive()
            if time.monotonic() >= beat:
                beat += 0.02
                for ear in self.ears:
                    ear.send()


class Ear:
    """`heard`: (arrival in seconds since 1970, RTP sequence number, payload)."""

    def __init__(self, says=None):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self.says = says or tone(400)
        self.heard, self.peer, self.sent = [], None, 0

    def receive(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                packet, ancillary, _, peer = self.socket.recvmsg(2048, CONTROL)
                self.peer = peer
                if len(packet) == 12 + FRAME and packet[1] & 0x7F == 0:
                    seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
                    at = seconds + nanoseconds / 1e9
                    self.heard.append((at, struct.unpack("!H", packet[2:4])[0], packet[12:]))

    def send(self):
        if self.peer is None:
            return
        at = self.sent * FRAME % len(self.says)
        head = struct.pack("!BBHII", 0x80, 0, self.sent & 0xFFFF, self.sent * FRAME, 7)
        with contextlib.suppress(OSError):
            self.socket.sendto(head + self.says[at:at + FRAME], self.peer)
        self.sent += 1

    def longest_gap(self):
        """Between two packets, from the first to the last."""
        times = [at for at, _, _ in self.heard]
        return max(later - earlier for earlier, later in zip(times, times[1:]))

    def longest_silence(self, since, until):
        """The longest time between `since` and `until` without anything but comfort noise or digital silence."""
        sounds = [at for at, _, frame in self.heard if since <= at <= until and is_sound(frame)]
        edges = [since, *sounds, until]
        return max(later - earlier for earlier, later in zip(edges, edges[1:]))


def is_sound(frame):
    """Comfort noise of G.711 stays within the four smallest steps on both sides."""
    return any(code & 0x7F < 0x70 for code in frame)


def tone(hertz, seconds=1):
    """Whole periods of a sine in PCMU (ITU-T G.711)."""
    return encoded(8000 * np.sin(2 * np.pi * hertz * np.arange(8000 * seconds) / 8000))


def encoded(samples):
    samples = np.asarray(samples)
    magnitude = np.minimum(np.abs(samples).astype(int), 32_635) + 0x84
    exponent = np.clip(np.floor(np.log2(magnitude)).astype(int) - 7, 0, 7)
    codes = (exponent << 4) | (magnitude >> (exponent + 3) & 0x0F)
    return (~(codes | np.where(samples < 0, 0x80, 0)) & 0xFF).astype(np.uint8).tobytes()
