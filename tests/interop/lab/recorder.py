"""The client of a recorder (SIPREC, RFC 7866) in a few lines: one SIP socket, an RTP socket for each voice of the call it records.

Every voice says frames of one number each, as on the switchboard, all in step. Nothing here is retransmitted: loopback loses nothing.
"""

import contextlib
import re
import socket
import struct
import threading
import time

from .switchboard import FRAME, Message


def metadata(people, mode="complete"):
    """`people`: (participant, AOR, name, label) of each, in order."""
    parts = [f"<datamode>{mode}</datamode>", '<session session_id="S1"/>']
    for key, aor, name, label in people:
        parts += [f'<participant participant_id="{key}"><nameID aor="{aor}"><name>{name}</name></nameID></participant>',
                  f'<stream stream_id="of-{label}" session_id="S1"><label>{label}</label></stream>',
                  f'<participantstreamassoc participant_id="{key}"><send>of-{label}</send></participantstreamassoc>']
    return f'<?xml version="1.0"?><recording xmlns="urn:ietf:params:xml:ns:recording:1">{"".join(parts)}</recording>'


class Recorder:
    """`voices`: by label, the number that each says; None for one who is connected and sends nothing."""

    def __init__(self, voices):
        self.voices, self.silent, self.over = voices, set(), False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.rtp = {label: socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for label in voices}
        for one in self.rtp.values():
            one.bind(("127.0.0.1", 0))
        self.to_rtp, self.sent, self.received = {}, 0, []
        self.dialogs = {}
        for work in (self._listen, self._speak, *(lambda one=one: self._hear(one) for one in self.rtp.values())):
            threading.Thread(target=work, daemon=True).start()

    def end(self):
        self.over = True
        for one in (self.socket, *self.rtp.values()):
            one.close()

    def sdp(self, directions=None, version=1):
        lines = "".join(
            f"m=audio {one.getsockname()[1]} RTP/AVP 0\r\na=label:{label}\r\na={(directions or {}).get(label, 'sendonly')}\r\n"
            for label, one in self.rtp.items())
        return f"v=0\r\no=SRC 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{lines}"

    def invite(self, edge, who=None, headers=""):
        """A new dialog, or a request in one: `edge` is its address then."""
        dialog = Dialog(self, edge)
        self.dialogs[dialog.call_id] = dialog
        dialog.offer(self.sdp(), who, headers)
        return dialog

    def _listen(self):
        while not self.over:
            with contextlib.suppress(OSError):
                text, _ = self.socket.recvfrom(65535)
                message = Message(text.decode())
                dialog = self.dialogs.get(message["Call-ID"])
                if dialog is not None:
                    dialog.take(message)

    def _speak(self):
        begin = time.monotonic()
        while not self.over:
            for label, says in self.voices.items():
                to = self.to_rtp.get(label)
                if to and says is not None and label not in self.silent:
                    stamp = struct.pack("!BBHII", 0x80, 0, self.sent & 0xFFFF, self.sent * FRAME, says)
                    frame = bytes([says, 128 + self.sent % 100, 128 + self.sent // 100 % 100]) * FRAME
                    with contextlib.suppress(OSError):
                        self.rtp[label].sendto(stamp + frame[:FRAME], to)
            self.sent += 1
            time.sleep(max(0.0, begin + self.sent * 0.02 - time.monotonic()))

    def _hear(self, one):
        while not self.over:
            with contextlib.suppress(OSError):
                self.received.append(one.recv(2048))


class Dialog:
    def __init__(self, recorder, edge):
        self.recorder, self.host = recorder, edge
        self.call_id, self.tag = f"{time.monotonic_ns()}@src", f"s{time.monotonic_ns()}"
        self.cseq, self.final, self.ended = 0, None, threading.Event()
        self.target, self.far = f"sip:+18005551234@{edge}", f"<sip:+18005551234@{edge}>"
        self.changed = threading.Condition()

    def offer(self, sdp, who=None, headers="", method="INVITE"):
        """INVITE or UPDATE; `who` goes beside it, or alone where there is no `sdp`."""
        parts = [("application/sdp", sdp), ("application/rs-metadata+xml", who)]
        parts = [(kind, body) for kind, body in parts if body]
        if len(parts) == 1:
            kind, body = parts[0]
        else:
            kind = "multipart/mixed;boundary=xx"
            body = "".join(f"--xx\r\nContent-Type: {kind}\r\n\r\n{body}\r\n" for kind, body in parts) + "--xx--\r\n"
        self.final = None
        self.cseq += 1
        self._send(method, self.cseq, f"Require: siprec\r\nContent-Type: {kind}\r\n{headers}", body)

    def answered(self, within=10):
        """The final response to what was sent last."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.final is not None, within), "no final response"
        return self.final

    def replaces(self):
        return f"Replaces: {self.call_id};to-tag={self.far.split(';tag=')[1]};from-tag={self.tag}\r\n"

    def hang_up(self):
        self.cseq += 1
        self._send("BYE", self.cseq)

    def take(self, message):
        if message.method == "BYE":
            self._write([f"SIP/2.0 200 OK", *(f"Via: {via}" for via in message.all("Via")), f"From: {message['From']}",
                         f"To: {message['To']}", f"Call-ID: {self.call_id}", f"CSeq: {message['CSeq']}"])
            return self.ended.set()
        number, method = message["CSeq"].split()
        code = 0 if message.method else int(message.first.split()[1])
        if code < 200 or method == "BYE":
            return None
        if code < 300:
            self.far = message["To"]
            self.target = re.search(r"<([^>]+)>", message["Contact"]).group(1)
            ports = [int(port) for port in re.findall(r"m=audio (\d+)", message.body)]
            for label, port in zip(self.recorder.rtp, ports):
                self.recorder.to_rtp[label] = ("127.0.0.1", port) if port else None
        if method == "INVITE":
            self._send("ACK", int(number))
        with self.changed:
            self.final = message
            self.changed.notify_all()

    def _send(self, method, cseq, headers="", body=""):
        local = self.recorder.address
        self._write([f"{method} {self.target} SIP/2.0", f"Via: SIP/2.0/UDP {local};branch=z9hG4bK{time.monotonic_ns()}",
                     f"From: <sip:src@{local}>;tag={self.tag}", f"To: {self.far}", f"Call-ID: {self.call_id}",
                     f"CSeq: {cseq} {method}", f"Contact: <sip:src@{local}>;+sip.src", "Max-Forwards: 70"], headers, body)

    def _write(self, lines, headers="", body=""):
        host, port = self.host.rsplit(":", 1)
        text = "\r\n".join(lines) + f"\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}"
        self.recorder.socket.sendto(text.encode(), (host, int(port)))
