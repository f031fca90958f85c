"""A telephone of PJSIP: `pjsip_phone.py` in a process of its own, ordered about from here."""

import json
import pathlib
import subprocess
import sys
import threading

import numpy as np

from . import audio
from .softphone import free_ports
from .waiting import until

NUMBER, HUMAN = "+18005551234", "+16505550100"
TRANSPORTS = ["udp", "tcp", "tls"]
# What it says in every call, and how it is compared.
GREETING = audio.speech("greeting")[:audio.RATE * 9 // 4]
PIECE = audio.RATE // 4
SAYS = np.concatenate([audio.silence(0.5), GREETING, audio.silence(120)])

WORKER = pathlib.Path(__file__).with_name("pjsip_phone.py")


class PjsipPhone:
    def __init__(self, directory, transport="udp", says=SAYS, codec="PCMU", srtp="off", rate=audio.RATE, certificates=None):
        directory.mkdir(parents=True)
        self.directory, self.rate, self.transport = directory, rate, transport
        self.port, rtp_port = free_ports()
        audio.write(directory / "microphone.wav", says, rate)
        options = {
            "port": self.port, "rtp_port": rtp_port & ~1, "transport": transport, "codec": codec, "srtp": srtp, "rate": rate,
            "microphone": str(directory / "microphone.wav"), "ear": str(directory / "ear.wav"),
            "log": str(directory / "pjsip.log"), **(certificates.of_phone() if certificates else {}),
        }
        self.events = []
        with open(directory / "pjsip.err", "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(WORKER), json.dumps(options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, text=True,
            )
        threading.Thread(target=self._listen, daemon=True).start()
        self.wait_for("ready", within=20)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def found_by(self, user):
        """Where another phone or the edge finds this one."""
        return f"sip:{user}@{self.address};transport={self.transport}"

    def calls(self, edge, address=None):
        """Calls the edge, or what leads to it; the call there, once both know that it speaks."""
        self.dial(f"sip:{NUMBER}@{address or edge.sip[self.transport]}")
        self.wait_for("state", state="CONFIRMED")
        return edge.answered()

    def called_by(self, edge):
        call = edge.place(HUMAN)
        self.wait_for("state", state="CONFIRMED")
        return edge.answered(call)

    def hears_greeting(self):
        """Its own from the engine that echoes, or another phone's. PJSIP's clock stumbles on a busy machine: half of it is enough."""
        def is_heard():
            score = audio.pieces_heard(GREETING, self.heard(), PIECE)
            return np.count_nonzero(score > 0.9) >= len(score) // 2

        until(is_heard, 20, "the greeting")

    def order(self, do, **more):
        self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self.process.stdin.flush()

    def dial(self, uri):
        self.order("dial", uri=f"{uri};transport={self.transport}")

    def told(self, event, **values):
        """The latest such event."""
        found = [told for told in self.events if told["event"] == event and values.items() <= told.items()]
        return found[-1] if found else None

    def wait_for(self, event, within=10, **values):
        return until(lambda: self.told(event, **values) or self._failed(), within, f"{event} {values} at PJSIP")

    def heard(self):
        """Everything it heard. The recorder writes a second or so late."""
        path = self.directory / "ear.wav"
        return audio.read(path, self.rate) if path.exists() and path.stat().st_size > 44 else audio.silence(0)

    def log(self):
        return (self.directory / "pjsip.log").read_text(errors="replace")

    def end(self):
        self.process.stdin.close()
        try:
            return self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(5)

    def _failed(self):
        assert self.told("error") is None, self.told("error")
        assert self.process.poll() is None, (self.directory / "pjsip.err").read_text()

    def _listen(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self.events.append(json.loads(line))
