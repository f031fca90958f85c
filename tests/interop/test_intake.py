"""Events from a platform, signed by somebody else's implementation: OpenSSL holds the account's private key."""

import base64
import json
import subprocess
import time

from lab.edge import usual
from lab.waiting import until

PATH = "/api/intake/telnyx-main/events"
EVENT = {"data": {"record_type": "event", "event_type": "call.initiated", "id": "0ccc7b54-4df3-4bca-a65a-3da1ecc777f0",
                  "occurred_at": "2026-05-20T17:31:04Z", "payload": {"direction": "incoming", "state": "parked"}},
         "meta": {"attempt": 1, "delivered_to": "https://edge.example.com" + PATH}}


class Account:
    """A key pair, and what is signed with it."""

    def __init__(self, directory):
        self.key = directory / "account.pem"
        self.directory = directory
        self.openssl("genpkey", "-algorithm", "ed25519", "-out", self.key)
        self.public = base64.b64encode(self.openssl("pkey", "-in", self.key, "-pubout", "-outform", "DER")[-32:]).decode()

    def openssl(self, *words):
        return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout

    def headers(self, body, at=None):
        timestamp = str(int(time.time() if at is None else at))
        signed = self.directory / "signed"
        signed.write_bytes(timestamp.encode() + b"|" + body)
        signature = self.openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.key, "-in", signed)
        return {"telnyx-timestamp": timestamp, "telnyx-signature-ed25519": base64.b64encode(signature).decode(),
                "Authorization": ""}


def test_what_the_account_has_signed_is_taken_once_and_nothing_else_is(start_edge, tmp_path):
    account = Account(tmp_path)
    config = usual()
    config["intakes"] = {"telnyx-main": {"tenant": "acme", "platform": "telnyx", "public_key": account.public}}
    edge = start_edge(config)
    body = json.dumps(EVENT, indent=1).encode()
    bring = lambda headers, body=body, path=PATH: edge.ask("POST", path, body, headers=headers)

    first = bring(account.headers(body))
    again = bring(account.headers(body))
    forged = bring(account.headers(body), body.replace(b"incoming", b"outgoing"))
    stale = bring(account.headers(body, time.time() - 301))
    nowhere = bring(account.headers(body), path="/api/intake/nobody/events")
    metrics = edge.metrics()
    edge.config["intakes"] = {}
    edge.write()
    edge.process.signal(1)
    gone = until(lambda: (answer := bring(account.headers(body))).status == 404 and answer, what="the intake to be gone")
    records = edge.ask("GET", "/api/audit").json["records"]

    assert (first.status, first.json["status"]) == (200, "accepted")
    assert (again.status, again.json["status"]) == (200, "repeated")
    assert [forged.json["code"], stale.json["code"]] == ["platform.unproven"] * 2
    assert (forged.status, stale.status) == (401, 401)
    assert (nowhere.json["code"], gone.json["code"]) == ("platform.not_found", "platform.not_found")
    count = lambda result: metrics[f'callingedge_platform_events_total{{platform="telnyx",result="{result}"}}']
    assert (count("accepted"), count("repeated"), count("refused")) == (1, 1, 2)
    assert [record["action"] for record in records] == ["platform.refused", "platform.refused", "platform.accepted"]
    assert all(record["source"] == "127.0.0.1" for record in records)
