"""What the doctor says of an edge with a trunk, an engine and a receiver, beside it while it runs and without it."""

import json
import re
import socket
import subprocess

from lab.edge import usual
from lab.engine import Engine, patient


def findings(edge):
    """What it says, by check, and its exit code."""
    ran = edge.command("doctor", "--json", check=False)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    by_check = {}
    for line in lines:
        by_check.setdefault(line["check"], []).append(line)
    return by_check, ran.returncode


def levels(found):
    return [finding["level"] for finding in found]


def free(kind):
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def whole(engine, receiver, carrier):
    """An edge at ports of its own, whose trunk is another edge."""
    config = usual()
    config["sip"]["listen"] = [f"udp:127.0.0.1:{free(socket.SOCK_DGRAM)}", f"tcp:127.0.0.1:{free(socket.SOCK_STREAM)}"]
    config["http"]["listen"] = f"127.0.0.1:{free(socket.SOCK_STREAM)}"
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["bot"] = {"url": engine.url, "dialect": "twilio"}
    targets = [f"sip:{carrier.sip['udp']}", f"sip:{carrier.sip['tcp']};transport=tcp"]
    config["providers"]["sip-main"] |= {"targets": targets, "engine": "bot"}
    return config


def test_a_running_edge_with_all_its_peers_is_well_and_is_known_by_its_healthz(start_edge, patient_engine, receiver):
    carrier = start_edge(usual())
    edge = start_edge(whole(patient_engine, receiver, carrier))

    found, code = findings(edge)

    assert code == 0, found
    assert levels(found["listen"]) == ["ok"] * 3
    assert all("the running edge answers /healthz" in finding["text"] for finding in found["listen"])
    assert levels(found["trunk"]) == ["ok"] * 2
    assert all("answered OPTIONS with 200" in finding["text"] for finding in found["trunk"])
    assert levels(found["engine"]) == levels(found["webhook"]) == ["ok"]
    assert patient_engine.calls[0].over.wait(5), "the socket is closed at once"
    assert patient_engine.calls[0].heard == []
    assert receiver.posts == [], "a doctor posts nothing"


def test_what_is_wrong_with_each_peer_is_told_beside_it(start_edge, receiver):
    carrier = start_edge(usual())
    refusing = Engine(patient, subprotocol="other")
    config = whole(refusing, receiver, carrier)
    config["webhooks"]["allow_private"] = False
    config["engines"]["bot"] = {"url": refusing.url, "dialect": "edge.v1"}
    config["engines"]["gone"] = {"url": f"ws://127.0.0.1:{free(socket.SOCK_STREAM)}/", "dialect": "twilio"}
    config["providers"]["sip-main"]["targets"] = [
        f"sip:127.0.0.1:{free(socket.SOCK_DGRAM)}",
        f"sip:127.0.0.1:{free(socket.SOCK_STREAM)};transport=tcp",
    ]
    edge = start_edge(config)
    edge.stop()

    found, code = findings(edge)
    refusing.end()

    assert code == 1
    assert levels(found["listen"]) == ["ok"] * 3
    assert levels(found["trunk"]) == ["problem"] * 2
    assert "no answer to OPTIONS within 2 s" in found["trunk"][0]["text"]
    assert "refused" in found["trunk"][1]["text"]
    assert levels(found["engine"]) == ["problem"] * 2, found["engine"]
    assert "engine-test" in found["engine"][0]["text"]
    assert "is it running" in found["engine"][1]["text"]
    assert levels(found["webhook"]) == ["problem"]
    assert "loopback" in found["webhook"][0]["text"]


def test_a_stranger_on_our_port_is_no_edge(start_edge, patient_engine, receiver):
    carrier = start_edge(usual())
    config = whole(patient_engine, receiver, carrier)
    edge = start_edge(config)
    edge.stop()
    port = int(config["sip"]["listen"][0].rpartition(":")[2])

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", port))
        found, code = findings(edge)

    assert code == 1
    assert levels(found["listen"]) == ["problem", "ok", "ok"]
    assert "another program listens there" in found["listen"][0]["text"]


def test_certificates_are_read_and_a_renewed_one_that_is_not_shown_yet_is_told(start_edge, patient_engine, receiver, tmp_path):
    certificate, key = tmp_path / "edge.pem", tmp_path / "edge.key"

    def issue(days):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", key, "-out", certificate, "-days",
                        str(days), "-subj", "/CN=edge", "-addext", "subjectAltName=DNS:edge.example.com,IP:127.0.0.1"],
                       check=True, capture_output=True)

    issue(days=90)
    edge = start_edge(whole(patient_engine, receiver, start_edge(usual())))
    edge.stop()
    edge.config["http"] |= {"tls_certificate": str(certificate), "tls_key": {"file": str(key)}}
    edge.write()
    edge.start()

    found, code = findings(edge)
    issue(days=10)
    renewed, _ = findings(edge)

    assert code == 0, found
    assert levels(found["listen"]) == levels(renewed["listen"]) == ["ok"] * 3
    assert re.search(r"for edge.example.com, 127.0.0.1, good for (89|90) days", found["certificate"][0]["text"])
    assert levels(renewed["certificate"]) == ["warning"] * 2
    assert re.search(r"good for (9|10) days", renewed["certificate"][0]["text"])
    assert "needs a restart" in renewed["certificate"][1]["text"]
