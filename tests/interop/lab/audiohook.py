"""The platform's side of AudioHook, written from the protocol alone: signs its request, numbers its messages."""

import base64
import hashlib
import hmac
import json
import secrets
import time
import uuid

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
NOBODY = "00000000-0000-0000-0000-000000000000"
STEREO = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}
EXTERNAL = {"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}
L16 = STEREO | {"format": "L16"}


def signed(authority, target, session, secret=SECRET, key=KEY, age=0, nonce=None, organization=ORGANIZATION):
    """The headers of a request that opens `session`."""
    created = int(time.time()) - age
    values = {"@request-target": target, "@authority": authority, "audiohook-organization-id": organization,
              "audiohook-session-id": session, "audiohook-correlation-id": str(uuid.uuid4()), "x-api-key": key}
    names = " ".join(f'"{name}"' for name in values)
    nonce = nonce or base64.b64encode(secrets.token_bytes(18)).decode()
    parameters = f'({names});keyid="{key}";nonce="{nonce}";alg="hmac-sha256";created={created};expires={created + 30}'
    base = "".join(f'"{name}": {value}\n' for name, value in values.items()) + f'"@signature-params": {parameters}'
    tag = base64.b64encode(hmac.new(base64.b64decode(secret), base.encode(), hashlib.sha256).digest()).decode()
    headers = {name: value for name, value in values.items() if not name.startswith("@")}
    return headers | {"Signature-Input": f"sig1={parameters}", "Signature": f"sig1=:{tag}:"}


class Session:
    """One session of the platform. `heard` has all texts and audio, in order."""

    def __init__(self, authority, target="/audiohook/genesys", scheme="ws", ssl=None, **signing):
        self.id = str(uuid.uuid4())
        self.headers = signed(authority, target, self.id, **signing)
        self.seq = self.serverseq = 0
        self.heard = []
        connection = connect(f"{scheme}://{authority}{target}", additional_headers=self.headers, compression=None,
                             ssl=ssl, ping_interval=None, open_timeout=5)
        # It lives as long as the session, which no block of the caller's does.
        self.socket = connection.__enter__()

    def say(self, kind, **parameters):
        self.seq += 1
        self.socket.send(json.dumps({
            "version": "2", "id": self.id, "type": kind, "seq": self.seq, "serverseq": self.serverseq,
            "position": "PT0S", "parameters": parameters}))

    def open(self, *media, conversation=None, **more):
        self.conversation = conversation or str(uuid.uuid4())
        self.say("open", organizationId=ORGANIZATION, conversationId=self.conversation,
                 participant={"id": str(uuid.uuid4()), "ani": "+15550100", "aniName": "Sam", "dnis": "+15550199"},
                 media=media, language="en-US", **more)

    def stereo(self, external, internal, size=1600):
        """200 ms a message, as fast as they go."""
        for at in range(0, len(external), size):
            pair = bytes(sample for both in zip(external[at:at + size], internal[at:at + size]) for sample in both)
            self.socket.send(pair)

    def next(self, within=5):
        message = self.socket.recv(timeout=within)
        if isinstance(message, str):
            message = json.loads(message)
            assert (message["version"], message["id"]) == ("2", self.id)
            assert message["seq"] == self.serverseq + 1, "a message of ours is numbered wrongly"
            assert message["clientseq"] <= self.seq
            self.serverseq = message["seq"]
        self.heard.append(message)
        return message

    def wait_for(self, kind, within=5):
        deadline = time.monotonic() + within
        while True:
            message = self.next(max(deadline - time.monotonic(), 0.01))
            if isinstance(message, dict) and message["type"] == kind:
                return message

    def close(self, reason="end"):
        """Ends the session as the platform does; what `closed` says."""
        self.say("close", reason=reason)
        closed = self.wait_for("closed")
        self.end()
        return closed

    def end(self):
        try:
            self.socket.close()
        except ConnectionClosed:
            """Closed already."""

    def texts(self, kind):
        return [message for message in self.heard if isinstance(message, dict) and message["type"] == kind]
