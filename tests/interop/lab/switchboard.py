"""A trunk with people behind it: SIP over UDP in a few lines, one socket, and an RTP socket for everyone who speaks.

What a number does when it is called stands in `people`; what REFER is answered, in `refer`. Everyone says frames of one number
each, so that what is heard tells whose it is and whether anything is missing. Nothing here is retransmitted: loopback loses nothing.
"""

import contextlib
import re
import socket
import struct
import threading
import time

FRAME = 160


class Switchboard:
    def __init__(self, people=None, refer="405 Method Not Allowed", notifies=()):
        self.people = people or {}
        self.refer, self.notifies = refer, notifies
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.lines, self.refers, self.over = [], [], False
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def end(self):
        self.over = True
        for line in self.lines:
            line.close()
        self.socket.close()

    def called(self, number):
        """Whoever was called under this number, the latest last."""
        return [line for line in self.lines if line.number == number and not line.calls]

    def call(self, edge, number, says, sender="+16505550123", headers=""):
        line = Line(self, number, says, calls=True)
        self.lines.append(line)
        line.invite(edge, sender, headers)
        return line

    def _listen(self):
        while not self.over:
            try:
                data, sender = self.socket.recvfrom(65535)
            except OSError:
                return
            message = Message(data.decode())
            line = next((line for line in self.lines if line.call_id == message["Call-ID"]), None)
            if message.method == "INVITE" and line is None:
                number = re.search(r"sips?:([^@>]+)", message.first).group(1)
                person = self.people.get(number, {})
                line = Line(self, number, person.get("says", 1), call_id=message["Call-ID"], person=person)
                self.lines.append(line)
            if line is not None:
                line.take(message, sender)


class Line:
    """One dialog and its audio."""

    def __init__(self, board, number, says, call_id=None, person=None, calls=False):
        self.board, self.number, self.says, self.calls = board, number, says, calls
        self.call_id = call_id or f"{time.monotonic_ns()}-{number}@board"
        self.person = person or {}
        self.tag, self.cseq = f"b{time.monotonic_ns()}", 1
        self.invited, self.remote, self.edge = None, None, None
        self.answered, self.ended = threading.Event(), threading.Event()
        self.final = None
        self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.rtp.bind(("127.0.0.1", 0))
        self.to_rtp = None
        self.sent, self.heard = 0, []

    # ---- SIP

    def invite(self, edge, sender, headers):
        host, port = edge.rsplit(":", 1)
        self.edge = (host, int(port))
        self.target = f"sip:{self.number}@{edge}"
        self.local, self.far = f"<sip:{sender}@{self.board.address}>;tag={self.tag}", f"<{self.target}>"
        self._send("INVITE", self._sdp(), headers)

    def take(self, message, sender):
        if message.method is None:
            return self._response(message)
        if message.method == "INVITE" and self.invited is None:
            self.invited, self.edge = message, sender
            self.local = f"{message['To']};tag={self.tag}"
            self.far = message["From"]
            self.target = re.search(r"<([^>]+)>", message["Contact"]).group(1)
            self.to_rtp = media_of(message.body)
            threading.Thread(target=self._behave, daemon=True).start()
        elif message.method == "INVITE":
            self.to_rtp = media_of(message.body) or self.to_rtp
            self._reply(message, "200 OK", self._sdp())
        elif message.method == "CANCEL":
            self._reply(message, "200 OK")
            self._reply(self.invited, "487 Request Terminated")
            self.ended.set()
        elif message.method == "BYE":
            self._reply(message, "200 OK")
            self.ended.set()
        elif message.method == "REFER":
            self.board.refers.append(message)
            self._reply(message, self.board.refer)
            if self.board.refer.startswith("2"):
                threading.Thread(target=self._notify, daemon=True).start()
        elif message.method != "ACK":
            self._reply(message, "200 OK")

    def hang_up(self):
        self._send("BYE")
        self.ended.set()

    def ask_to_transfer(self, uri):
        """REFER: the edge should call somebody in our place."""
        self._send("REFER", headers=f"Refer-To: <{uri}>\r\n")

    def _behave(self):
        """What this person does when the phone rings."""
        person = self.person
        if person.get("rings", True):
            self._reply(self.invited, "180 Ringing")
        if person.get("silent"):
            return
        time.sleep(person.get("after", 0.2))
        if self.ended.is_set():
            return
        status = person.get("status", "200 OK")
        if status.startswith("2"):
            self._reply(self.invited, status, self._sdp())
            self._begin()
        else:
            self.final = status
            self._reply(self.invited, status)
            self.ended.set()

    def _response(self, message):
        code, method = int(message.first.split()[1]), message["CSeq"].split()[1]
        if method != "INVITE" or code < 200:
            return
        self.final = message.first.split(" ", 1)[1]
        self.far = message["To"]
        if code < 300:
            self.target = re.search(r"<([^>]+)>", message["Contact"]).group(1)
            self.to_rtp = media_of(message.body)
        self._send("ACK", cseq=int(message["CSeq"].split()[0]))
        if code < 300 and not self.answered.is_set():
            self._begin()
        elif code >= 300:
            self.ended.set()

    def _notify(self):
        for line in self.board.notifies:
            time.sleep(0.2)
            state = "active;expires=60" if line.startswith("1") else "terminated;reason=noresource"
            body = f"SIP/2.0 {line}\r\n"
            self._send("NOTIFY", body, f"Event: refer\r\nSubscription-State: {state}\r\n", "message/sipfrag")

    def _send(self, method, body="", headers="", kind="application/sdp", cseq=None):
        if cseq is None:
            cseq = self.cseq
            self.cseq += 1
        lines = [
            f"{method} {self.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.board.address};branch=z9hG4bK{time.monotonic_ns()}",
            f"From: {self.local}", f"To: {self.far}", f"Call-ID: {self.call_id}", f"CSeq: {cseq} {method}",
            f"Contact: <sip:board@{self.board.address}>", "Max-Forwards: 70",
        ]
        self._write(lines, body, headers, kind)

    def _reply(self, request, status, body=""):
        lines = [f"SIP/2.0 {status}", *(f"Via: {via}" for via in request.all("Via")), f"From: {request['From']}"]
        to = request["To"] if "tag=" in request["To"] else f"{request['To']};tag={self.tag}"
        lines += [f"To: {to}", f"Call-ID: {self.call_id}", f"CSeq: {request['CSeq']}",
                  f"Contact: <sip:board@{self.board.address}>"]
        self._write(lines, body)

    def _write(self, lines, body, headers="", kind="application/sdp"):
        head = "\r\n".join(lines) + "\r\n" + headers + (f"Content-Type: {kind}\r\n" if body else "")
        text = f"{head}Content-Length: {len(body)}\r\n\r\n{body}"
        with contextlib.suppress(OSError):
            self.board.socket.sendto(text.encode(), self.edge)

    def _sdp(self):
        port = self.rtp.getsockname()[1]
        return (f"v=0\r\no=- {self.cseq} {self.cseq} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                f"m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n")

    # ---- RTP

    def _begin(self):
        self.answered.set()
        threading.Thread(target=self._speak, daemon=True).start()
        threading.Thread(target=self._hear, daemon=True).start()

    def _speak(self):
        begin = time.monotonic()
        while not self.ended.is_set() and not self.board.over:
            packet = struct.pack("!BBHII", 0x80, 0, self.sent & 0xFFFF, self.sent * FRAME, 7) + self.frame(self.sent)
            with contextlib.suppress(OSError):
                self.rtp.sendto(packet, self.to_rtp)
            self.sent += 1
            time.sleep(max(0.0, begin + self.sent * 0.02 - time.monotonic()))

    def frame(self, number):
        """Who it is, and which frame: three bytes again and again."""
        return (bytes([self.says, 128 + number % 100, 128 + number // 100 % 100]) * FRAME)[:FRAME]

    def _hear(self):
        while not self.board.over:
            try:
                packet = self.rtp.recv(2048)
            except OSError:
                return
            if len(packet) == 12 + FRAME and packet[1] & 0x7F == 0:
                self.heard.append((time.monotonic(), packet[12:]))

    def close(self):
        self.ended.set()
        self.rtp.close()

    def frames_of(self, who):
        """The numbers of the frames that were heard of somebody who speaks `frame`s, in order."""
        numbers = (number_of(frame, who) for _, frame in list(self.heard))
        return [number for number in numbers if number is not None]

    def longest_silence(self, since=0.0, until=None):
        """The longest time without a packet that is anything but comfort noise."""
        sounds = [at for at, frame in list(self.heard) if at >= since and (until is None or at <= until) and is_sound(frame)]
        edges = [since or sounds[0], *sounds, *([until] if until else [])]
        return max(later - earlier for earlier, later in zip(edges, edges[1:]))

    def longest_pause(self):
        """The longest time without any packet."""
        times = [at for at, _ in list(self.heard)]
        return max(later - earlier for earlier, later in zip(times, times[1:]))


def number_of(frame, who):
    """Which of the frames of `who` this one is, if it is one."""
    at = next((at for at in range(3) if frame[at] == who and frame[at + 3] == who), None)
    return None if at is None else frame[at + 1] - 128 + 100 * (frame[at + 2] - 128)


def is_sound(frame):
    """Comfort noise of G.711 stays within the four smallest steps on both sides."""
    return any(code & 0x7F < 0x70 for code in frame)


def media_of(body):
    host = re.search(r"c=IN IP4 (\S+)", body)
    port = re.search(r"m=audio (\d+)", body)
    return (host.group(1), int(port.group(1))) if host and port else None


class Message:
    def __init__(self, text):
        head, _, self.body = text.partition("\r\n\r\n")
        self.first, *lines = head.split("\r\n")
        self.headers = [line.split(":", 1) for line in lines if ":" in line]
        word = self.first.split()[0]
        self.method = None if word.startswith("SIP/") else word

    def all(self, name):
        return [value.strip() for key, value in self.headers if key.strip().lower() == name.lower()]

    def __getitem__(self, name):
        return self.all(name)[0]

    def get(self, name):
        return next(iter(self.all(name)), None)
