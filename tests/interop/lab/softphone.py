"""baresip without a sound card: a file is its microphone, and what it hears is written to another.

It is ordered about through its `ctrl_tcp` module (netstrings with JSON); the `sndfile` module records both directions, after
decoding and before encoding. `aubridge` stands in for a loudspeaker.
"""

import json
import pathlib
import shutil
import socket
import threading
import time

from . import audio
from .processes import Process
from .waiting import until

MODULES = next((path for path in pathlib.Path("/usr").glob("lib*/**/baresip/modules") if path.is_dir()), None)


class Softphone:
    def __init__(self, directory, says, user="phone", answers="auto", codec="PCMU", mediaenc=None, rate=audio.RATE):
        assert shutil.which("baresip") and MODULES, "baresip is not installed: tests/peers.sh test"
        self.directory = directory
        self.events = []
        directory.mkdir(parents=True)
        microphone = directory / "microphone.wav"
        audio.write(microphone, says, rate)
        (directory / "contacts").write_text("")
        self.process = self.control = None
        self.mediaenc, self.rate = mediaenc, rate
        for _ in range(3):
            self._start(microphone, user, answers, codec)
            if self.control:
                break
        assert self.control, f"baresip does not open its control socket: {self.process.text()[-2000:]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _start(self, microphone, user, answers, codec):
        """Between the choice of a free port and its use somebody else may have taken it: then baresip ends by itself."""
        directory = self.directory
        self.port, control = free_ports()
        encrypted = f";mediaenc={self.mediaenc}" if self.mediaenc else ""
        (directory / "accounts").write_text(
            f"<sip:{user}@127.0.0.1:{self.port}>;regint=0;answermode={answers};audio_codecs={codec};ptime=20{encrypted}\n")
        (directory / "config").write_text("\n".join([
            f"sip_listen 127.0.0.1:{self.port}", "net_interface 127.0.0.1", "rtp_ports 12000-19998",
            f"audio_source aufile,{microphone}", "audio_player aubridge,ear", "audio_alert aubridge,bell",
            f"ausrc_srate {self.rate}", f"auplay_srate {self.rate}", "ausrc_channels 1", "auplay_channels 1", "dtmf_mode rtp-event",
            f"module_path {MODULES}", *(f"module {name}.so" for name in ("g711", "g722", "opus", "aufile", "aubridge", "sndfile", "srtp")),
            *(["module dtls_srtp.so", "rtcp_mux yes"] if self.mediaenc == "dtls_srtp" else []),
            "module_tmp account.so", "module_app menu.so", "module_app ctrl_tcp.so",
            f"ctrl_tcp_listen 127.0.0.1:{control}", f"snd_path {directory}", "",
        ]))
        self.process = Process(["baresip", "-4", "-f", directory], directory / "baresip.log")
        deadline = time.monotonic() + 20
        while self.process.is_running() and time.monotonic() < deadline:
            self.control = connect(control)
            if self.control:
                return
            time.sleep(0.02)
        self.process.end()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def order(self, command, parameters=""):
        message = json.dumps({"command": command, "params": parameters}).encode()
        self.control.sendall(b"%d:%s," % (len(message), message))

    def dial(self, uri):
        self.order("dial", uri)

    def hang_up(self):
        self.order("hangup")

    def press(self, keys):
        """RFC 4733, one after the other as a finger would."""
        for key in keys:
            self.order("sndcode", key)
            time.sleep(0.3)

    def wait_for(self, kind, within=10):
        """The first event of that kind: CALL_RINGING, CALL_ESTABLISHED, CALL_CLOSED, CALL_INCOMING."""
        return until(lambda: next((event for event in self.events if event["type"] == kind), None), within,
                     f"{kind} at baresip")

    def heard(self):
        """Everything it heard in its latest call."""
        return self._recording("dec")

    def said(self):
        return self._recording("enc")

    def end(self):
        self.control.close()
        return self.process.end()

    def _recording(self, direction):
        recordings = sorted(self.directory.glob(f"dump-*-{direction}.wav"))
        return audio.read(recordings[-1], self.rate) if recordings else audio.silence(0)

    def _listen(self):
        text = b""
        while True:
            try:
                received = self.control.recv(65536)
            except OSError:
                return
            if not received:
                return
            text += received
            while (colon := text.find(b":")) > 0 and len(text) > (end := colon + 1 + int(text[:colon])):
                message = json.loads(text[colon + 1:end])
                text = text[end + 1:]
                if message.get("event"):
                    self.events.append(message | {"at": time.monotonic()})


def connect(port):
    try:
        connected = socket.create_connection(("127.0.0.1", port), 1)
    except OSError:
        return None
    connected.settimeout(None)
    return connected


def free_ports():
    """For SIP, with the next one free as well (baresip listens for TLS there), and for control."""
    while True:
        with socket.socket() as first, socket.socket() as second, socket.socket() as control:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            control.bind(("127.0.0.1", 0))
            return port, control.getsockname()[1]
