"""Callers that say given bytes and keep every byte they hear: SIP over UDP and RTP in PCMU, all of them on one thread."""

import re
import selectors
import socket
import struct
import threading
import time

RTP = struct.Struct(">BBHII")
FRAME = 160
BEAT = 0.02
RESEND = 0.5
# Before a caller says the first word.
BREATH = 10


class Callers:
    """`Callers(edge address, what each says)`: they call at once, and hang up when they have said it."""

    def __init__(self, edge, says, number="+18005551234"):
        host, port = edge.rsplit(":", 1)
        self.calls = [Caller((host, int(port)), index, said, number) for index, said in enumerate(says)]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def finish(self, within):
        """Waits until all of them have hung up."""
        self.thread.join(within)
        assert not self.thread.is_alive(), [call.state for call in self.calls]
        for call in self.calls:
            call.close()

    def _run(self):
        selector = selectors.DefaultSelector()
        for call in self.calls:
            selector.register(call.sip, selectors.EVENT_READ, call.read_sip)
            selector.register(call.rtp, selectors.EVENT_READ, call.read_rtp)
            call.invite()
        beat = time.monotonic()
        while any(call.state != "over" for call in self.calls):
            for key, _ in selector.select(max(0.0, beat - time.monotonic())):
                key.data()
            if time.monotonic() >= beat:
                beat += BEAT
                for call in self.calls:
                    call.tick()


class Caller:
    def __init__(self, edge, index, says, number):
        self.edge, self.says, self.state = edge, says, "new"
        self.sip, self.rtp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for each in (self.sip, self.rtp):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        self.rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.port = self.sip.getsockname()[1]
        self.uri = f"sip:{number}@{edge[0]}:{edge[1]}"
        self.call_id = f"caller-{index}-{self.port}"
        self.to, self.contact = f"<{self.uri}>", self.uri
        self.packets, self.breath = 0, BREATH
        self.waiting = None
        self.far = None
        # Number, and what it says, of every packet that came.
        self.heard = []

    def invite(self):
        sdp = "\r\n".join(["v=0", f"o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0",
                           f"m=audio {self.rtp.getsockname()[1]} RTP/AVP 0", "a=rtpmap:0 PCMU/8000", ""])
        self.state = "calling"
        self._ask("INVITE", 1, self.uri, sdp)

    def tick(self):
        if self.waiting and time.monotonic() - self.waiting[0] > RESEND:
            self._send(self.waiting[1])
        if self.state != "talking":
            return
        if self.breath:
            self.breath -= 1
            return
        at = self.packets * FRAME
        if at >= len(self.says):
            self.state = "hanging up"
            return self._ask("BYE", 2, self.contact)
        header = RTP.pack(0x80, 0, self.packets & 0xFFFF, at, 0x0BADCAFE)
        self.rtp.sendto(header + self.says[at:at + FRAME], self.far)
        self.packets += 1

    def read_rtp(self):
        packet = self.rtp.recv(2048)
        _, payload_type, number, _, _ = RTP.unpack_from(packet)
        if payload_type & 0x7F == 0:
            self.heard.append((number, packet[RTP.size:]))

    def read_sip(self):
        text = self.sip.recv(65536).decode()
        status = re.match(r"SIP/2.0 (\d+)", text)
        if not status:
            return
        code, method = int(status[1]), re.search(r"CSeq: \d+ (\w+)", text)[1]
        if code < 200:
            self.waiting = None
        elif method == "BYE":
            self.waiting, self.state = None, "over"
        elif code == 200:
            self.to = re.search(r"^To: (.*?)\r", text, re.MULTILINE)[1]
            self.contact = re.search(r"^Contact: <(.*?)>", text, re.MULTILINE)[1]
            self._send(self._request("ACK", 1, self.contact))
            if self.state == "calling":
                self.waiting = None
                self.far = ("127.0.0.1", int(re.search(r"m=audio (\d+)", text)[1]))
                self.state = "talking"
        else:
            self.state, self.waiting = f"refused with {code}", None

    def spoken(self):
        """What it heard, packet by packet in order; none may be missing."""
        numbers = [number for number, _ in self.heard]
        assert all((after - before) & 0xFFFF == 1 for before, after in zip(numbers, numbers[1:])), "packets are missing"
        return b"".join(payload for _, payload in self.heard)

    def close(self):
        self.sip.close()
        self.rtp.close()

    def _ask(self, method, number, uri, body=""):
        request = self._request(method, number, uri, body)
        self._send(request)
        self.waiting = time.monotonic(), request

    def _send(self, request):
        self.sip.sendto(request, self.edge)
        if self.waiting:
            self.waiting = time.monotonic(), request

    def _request(self, method, number, uri, body=""):
        here = f"127.0.0.1:{self.port}"
        lines = [f"{method} {uri} SIP/2.0", f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{method}{self.call_id}",
                 f"From: <sip:+16505824074@{here}>;tag={self.port}", f"To: {self.to}", f"Call-ID: {self.call_id}",
                 f"CSeq: {number} {method}", f"Contact: <sip:caller@{here}>", "Max-Forwards: 70"]
        lines += ["Content-Type: application/sdp"] if body else []
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()
