"""Targets that are names: a real name server says where they lead (RFC 3263), and one dead host is not the end."""

import contextlib
import socket
import subprocess

import pytest

from lab import audio
from lab.edge import usual
from lab.waiting import until

NUMBER = "+16505824074"


@pytest.fixture
def name_server(free_port):
    """`name_server(*records)`: dnsmasq that knows these records and nothing else; answers with its address."""
    with contextlib.ExitStack() as ended:

        def start(*records):
            command = [
                "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts",
                "--user=root", "--bind-interfaces", "--listen-address=127.0.0.1", f"--port={free_port}", *records,
            ]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            ended.callback(process.wait, 10)
            ended.callback(process.terminate)
            until(lambda: answers(free_port), 10, "dnsmasq")
            return f"127.0.0.1:{free_port}"

        yield start


def answers(port):
    """Whether a question about the root comes back, whatever it says."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.2)
        asking.connect(("127.0.0.1", port))
        try:
            asking.send(bytes.fromhex("0001010000010000000000000000060001"))
            return len(asking.recv(512)) > 0
        except OSError:
            return False


def configured(server, engine, receiver):
    config = usual()
    config["dns"] = {"servers": [server]}
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["bot"] = {"url": engine.url, "dialect": "twilio"}
    config["providers"]["sip-main"] |= {"target": "sip:trunk.test", "engine": "bot"}
    return config


def test_a_call_goes_to_the_second_host_of_an_srv_when_the_first_is_silent(
    start_edge, new_phone, receiver, patient_engine, name_server
):
    phone = new_phone(audio.silence(60), user=NUMBER)
    port = phone.address.rpartition(":")[2].split(";")[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        server = name_server(
            "--host-record=a.trunk.test,127.0.0.1",
            "--naptr-record=trunk.test,50,50,S,SIP+D2U,,_sip._udp.trunk.test",
            f"--srv-host=_sip._udp.trunk.test,a.trunk.test,{silent.getsockname()[1]},1,1",
            f"--srv-host=_sip._udp.trunk.test,a.trunk.test,{port},2,1",
        )
        edge = start_edge(configured(server, patient_engine, receiver))

        call = edge.place(NUMBER)
        phone.wait_for("CALL_ESTABLISHED")

    health = edge.ask("GET", "/api/integrations/providers/sip-main/health").json
    assert [target["target"].split(";")[0].rpartition(":")[2] for target in health["targets"]][1] == port
    assert edge.call(call)["status"] == "answered"


def test_a_name_that_leads_nowhere_is_told_and_not_dialled(start_edge, receiver, patient_engine, name_server):
    edge = start_edge(configured(name_server("--address=/test/"), patient_engine, receiver))

    health = edge.ask("GET", "/api/integrations/providers/sip-main/health").json
    refused = edge.ask("POST", "/api/integrations/providers/sip-main/calls", {"to": NUMBER})

    assert health["reachable"] is False and "trunk.test" in health["detail"], health
    assert (refused.status, refused.json["code"]) == (503, "provider.unreachable")
