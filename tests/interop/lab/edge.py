"""One daemon under test: its directory, configuration, tokens, API and signals.

The configuration is a nested dictionary, written as TOML; whatever a test does not say is as in `usual`. All ports are the
kernel's choice and read from the log, so that many edges run beside each other.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request

from .processes import Process
from .waiting import until

SCOPES = ["calls:read", "calls:write", "events:read", "admin"]
SECRET = "whsec_aW50ZXJvcCB0ZXN0cyBvZiBjYWxsaW5nZWRnZSE="


def usual():
    """One tenant that takes calls from loopback; a test adds engines, routes and receivers."""
    return {
        "sip": {"listen": ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]},
        "media": {"address": "127.0.0.1", "advertise": "127.0.0.1", "workers": 1, "port_quarantine_sec": 1},
        "http": {"listen": "127.0.0.1:0"},
        "log": {"format": "json", "level": "info"},
        "limits": {"drain_sec": 20},
        "webhooks": {"allow_private": True, "timeout_ms": 1000},
        "tenants": {"acme": {"webhook_secret": {"env": "WEBHOOK_SECRET"}}},
        "engines": {},
        "providers": {"sip-main": {"kind": "sip-trunk", "tenant": "acme", "peers": ["127.0.0.1"], "allow_destinations": ["+1"]}},
    }


class Answer:
    """A response of the API."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Edge:
    """Starts, stops, kills and asks one daemon. Its store outlives every start."""

    def __init__(self, program, directory, config, env=None):
        self.program, self.directory, self.config = program, directory, config
        self.env = {"PATH": os.environ["PATH"], "WEBHOOK_SECRET": SECRET, **(env or {})}
        self.path = directory / "callingedge.toml"
        self.process, self.token = None, None
        self.starts = 0
        self.write()

    def write(self):
        self.path.write_text(toml(self.config))

    def launch(self):
        """Begins to start; `start` also waits until it serves."""
        self.starts += 1
        log = self.directory / f"edge-{self.starts}.log"
        self.process = Process([self.program, "run", "--config", self.path], log, env=self.env)

    def start(self):
        self.launch()
        served = until(lambda: self.said("the API is served") or not self.process.is_running(), 20, "start")
        assert served is not True, self.process.text()
        self.http = "http://" + served["fields"]["address"]
        heard = {line["fields"]["transport"]: line["fields"]["address"] for line in self.log() if
                 line["fields"].get("message") == "SIP is heard"}
        self.sip = {transport.lower(): address for transport, address in heard.items()}
        self.token = self.token or self.new_token("acme", SCOPES)
        return self

    def log(self):
        """Every line of this start that is JSON."""
        for line in self.process.text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                yield json.loads(line)

    def said(self, message):
        return next((line for line in self.log() if line["fields"].get("message", "").startswith(message)), None)

    def stop(self):
        """SIGTERM, and a second one for what does not end by itself; the exit code."""
        if self.process is None:
            return None
        self.process.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.running.wait(2)
        return self.process.end()

    def kill(self):
        self.process.kill()

    def command(self, *words, env=None, check=True):
        """One of the program's other commands, with this configuration and this API."""
        around = {**self.env, "CALLINGEDGE_CONFIG": str(self.path)}
        if self.process is not None:
            around |= {"CALLINGEDGE_URL": self.http, "CALLINGEDGE_TOKEN": self.token or ""}
        around |= env or {}
        return subprocess.run([self.program, *words], env=around, cwd=self.directory, check=check, capture_output=True,
                              text=True, timeout=60)

    def new_token(self, tenant, scopes):
        words = [word for scope in scopes for word in ("--scope", scope)]
        printed = self.command("token", "create", "--tenant", tenant, *words)
        return printed.stdout.strip()

    def ask(self, method, path, body=None, token=None, headers=None):
        """One request; every status is an answer."""
        around = {"Authorization": f"Bearer {token or self.token}", **(headers or {})}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            around.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(self.http + path, data, around, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def place(self, to, provider="sip-main", **body):
        placed = self.ask("POST", f"/api/integrations/providers/{provider}/calls", {"to": to, **body})
        assert placed.status == 202, placed.body
        return placed.json["call_id"]

    def call(self, call_id, provider="sip-main"):
        answer = self.ask("GET", f"/api/integrations/providers/{provider}/calls/{call_id}")
        assert answer.status == 200, answer.body
        return answer.json

    def answered(self, call=None):
        """The call that speaks, or that one once it does."""
        def found():
            calls = [one for one in self.calls() if call in (None, one["call_id"]) and one["status"] == "answered"]
            return calls[0]["call_id"] if calls else None

        return until(found, 10, "the answered call")

    def wait_for_status(self, call, wanted):
        until(lambda: self.call(call)["status"] == wanted, 10, f"the status {wanted}")

    def wait_for_end(self, call):
        """It is over, and nothing of its dialogs is left."""
        self.wait_for_status(call, "ended")
        until(lambda: self.metrics()["callingedge_sip_call_dialogs"] == 0, 10, "the end of its dialogs")

    def calls(self, **query):
        words = "&".join(f"{name}={value}" for name, value in query.items())
        answer = self.ask("GET", f"/api/calls?{words}")
        assert answer.status == 200, answer.body
        return answer.json["calls"]

    def timeline(self, call_id):
        return self.ask("GET", f"/api/calls/{call_id}/timeline").json["milestones"]

    def deliveries(self, **query):
        words = "&".join(f"{name}={value}" for name, value in query.items())
        answer = self.ask("GET", f"/api/webhooks/deliveries?limit=200&{words}")
        assert answer.status == 200, answer.body
        return answer.json["deliveries"]

    def metrics(self):
        """Every sample by its name with labels."""
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


def toml(tables, path=()):
    """A nested dictionary as TOML: tables, lists of tables, and inline tables for references to secrets."""
    plain, below = [], []
    for name, value in tables.items():
        if isinstance(value, dict) and not is_reference(value):
            below.append(f"\n[{key(*path, name)}]\n" + toml(value, (*path, name)))
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            below += [f"\n[[{key(*path, name)}]]\n" + toml(item, (*path, name)) for item in value]
        else:
            plain.append(f"{key(name)} = {inline(value)}\n")
    return "".join(plain + below)


def key(*names):
    return ".".join(json.dumps(name) for name in names)


def is_reference(value):
    return len(value) == 1 and next(iter(value)) in ("env", "file", "credential", "held")


def inline(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key(name)} = {inline(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)
