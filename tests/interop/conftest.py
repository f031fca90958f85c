"""What every test may ask for: the program, edges, receivers, telephones; all ended when the test has ended."""

import json
import os
import pathlib
import socket
import subprocess

import pytest

from lab.certificates import Certificates
from lab.edge import Edge, usual
from lab.engine import Engine, echo, patient
from lab.pjsip import PjsipPhone
from lab.receiver import Receiver
from lab.softphone import Softphone

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def callingedge():
    """The path of the built program."""
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )
    target = pathlib.Path(json.loads(metadata.stdout)["target_directory"])
    program = pathlib.Path(os.environ.get("CALLINGEDGE", target / "debug" / "callingedge"))
    assert program.exists(), f"{program} is not built; cargo build"
    return program


@pytest.fixture
def start_edge(callingedge, tmp_path):
    """`start_edge(config)`: a running edge. None may have panicked, whatever the test did to it."""
    edges = []

    def start(config, **more):
        directory = tmp_path / f"edge-{len(edges)}"
        directory.mkdir()
        edges.append(Edge(callingedge, directory, config, **more))
        return edges[-1].start()

    yield start
    for edge in edges:
        edge.stop()
        for log in sorted(edge.directory.glob("edge-*.log")):
            text = log.read_text(errors="replace")
            print(f"--- {log.name}\n{text[-4000:]}")
            assert "panicked" not in text


@pytest.fixture
def receiver():
    """A webhook receiver that acknowledges everything."""
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def new_phone(tmp_path):
    """`new_phone(says)`: a telephone that says those samples in every call."""
    phones = []

    def new(says, **more):
        phones.append(Softphone(tmp_path / f"phone-{len(phones)}", says, **more))
        return phones[-1]

    yield new
    for phone in phones:
        phone.end()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """What is needed for TLS on every side."""
    return Certificates(tmp_path_factory.mktemp("authority") / "made")


@pytest.fixture
def new_pjsip(tmp_path, certificates):
    """`new_pjsip(transport)`: a telephone of PJSIP that says a greeting in every call."""
    phones = []

    def new(transport="udp", **more):
        phones.append(PjsipPhone(tmp_path / f"pjsip-{len(phones)}", transport, certificates=certificates, **more))
        return phones[-1]

    yield new
    for phone in phones:
        phone.end()


@pytest.fixture
def start_echo(start_edge, receiver, certificates):
    """`start_echo(target)`: an edge that speaks TLS, too, with an engine that echoes; its trunk leads to `target`."""
    engines = []

    def start(target, **trunk):
        engine = Engine(echo, "edge.v1")
        engines.append(engine)
        config = usual()
        config["tenants"]["acme"]["webhook_url"] = receiver.url()
        config["engines"]["bot"] = {"url": engine.url, "dialect": "edge.v1"}
        config["providers"]["sip-main"] |= {
            "target": f"sip:{target.address};transport={target.transport}", "engine": "bot", "probe_interval_sec": 0, **trunk,
        }
        certificates.of_edge(config)
        edge = start_edge(config)
        edge.engine = engine
        return edge

    yield start
    for engine in engines:
        engine.end()


@pytest.fixture
def start_traffic(tmp_path):
    """`start_traffic(caller, edge, calls=10)`: a SIPp that is ended with the test."""
    started = []

    def start(kind, *arguments, **more):
        started.append(kind(tmp_path / f"traffic-{len(started)}", *arguments, **more))
        return started[-1]

    yield start
    for traffic in started:
        traffic.end()


@pytest.fixture
def patient_engine():
    """Takes every call in the Twilio dialect and says nothing."""
    engine = Engine(patient)
    yield engine
    engine.end()


@pytest.fixture
def free_port():
    """A port that nobody listens on yet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
