"""Bots of every dialect: our own mock engine through the edge, the conformance tester, and Pipecat's serializers."""

import concurrent.futures
import json
import pathlib
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from lab import audio
from lab.edge import usual
from lab.processes import Process
from lab.switchboard import Switchboard
from lab.waiting import until

BOTS = ["edge.v1", "edge.mux.v1", "twilio", "telnyx", "plivo", "exotel", "vonage", "jambonz", "asterisk",
        "asterisk-json", "pipecat"]
CLOUD = ["openai-realtime", "openai-realtime-beta", "gemini-live", "elevenlabs", "deepgram", "ultravox"]
# Their audio is resampled on its way, so it does not come back bit by bit.
WIDEBAND = ["gemini-live"]
CALLER = 3
NUMBER = "+18005551234"


@pytest.fixture
def start_mock(callingedge, tmp_path):
    """`start_mock(dialect, *words)`: the url of a running mock engine."""
    running = []

    def start(dialect, *words):
        log = tmp_path / f"mock-{len(running)}.log"
        process = Process([callingedge, "mock-engine", "--dialect", dialect, "--listen", "127.0.0.1:0", *words], log)
        running.append(process)
        until(lambda: "ws://" in process.text(), what="the mock engine")
        return next(word for word in process.text().split() if word.startswith("ws://"))

    yield start
    for process in running:
        process.end()


def examined(callingedge, url, dialect, *words):
    ended = subprocess.run([callingedge, "engine-test", url, "--dialect", dialect, "--json", *words],
                           capture_output=True, text=True, timeout=60)
    return ended.returncode, json.loads(ended.stdout)


def test_the_conformance_tester_passes_every_mock_engine(callingedge, start_mock):
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        urls = {dialect: start_mock(dialect) for dialect in BOTS + CLOUD}
        told = {dialect: pool.submit(examined, callingedge, url, dialect) for dialect, url in urls.items()}
        for dialect, outcome in told.items():
            code, report = outcome.result()
            assert code == 0 and report["passed"], (dialect, report)


def test_the_conformance_tester_says_what_is_wrong(callingedge, start_mock, tmp_path):
    silent = tmp_path / "silent.jsonl"
    silent.write_text('{"do": "wait", "ms": 60000}\n')
    nonsense = tmp_path / "nonsense.jsonl"
    nonsense.write_text('{"do": "send", "text": "{\\"event\\""}\n{"do": "tone", "ms": 100}\n')
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        refused = f"ws://127.0.0.1:{nobody.getsockname()[1]}/"
        code, report = examined(callingedge, refused, "twilio")
    assert code == 1 and [check["name"] for check in report["checks"]] == ["connect"]

    url = start_mock("twilio", "--script", silent)
    code, report = examined(callingedge, url, "twilio", "--patience", "3")
    failed = [check["name"] for check in report["checks"] if not check["passed"]]
    assert code == 1 and failed == ["speaks"], report
    code, report = examined(callingedge, url, "twilio", "--patience", "3", "--silent")
    assert code == 0, report

    url = start_mock("twilio", "--script", nonsense)
    code, report = examined(callingedge, url, "twilio", "--patience", "3")
    failed = [check["name"] for check in report["checks"] if not check["passed"]]
    assert code == 1 and failed == ["words"], report


def test_the_conformance_tester_says_whether_an_engine_goes_on_over_another_socket(callingedge, start_mock, tmp_path):
    code, report = examined(callingedge, start_mock("edge.v1"), "edge.v1")
    told = {check["name"]: check["detail"] for check in report["checks"]}
    assert code == 0 and told["resumes"].startswith("it went on over another socket"), report

    forgetful = tmp_path / "forgetful.jsonl"
    forgetful.write_text('{"do": "send", "text": "{\\"type\\": \\"accept\\", \\"resume\\": true}"}\n{"do": "tone", "ms": 100}\n{"do": "cut"}\n')
    code, report = examined(callingedge, start_mock("edge.v1", "--script", forgetful), "edge.v1", "--patience", "3")
    failed = [check["name"] for check in report["checks"] if not check["passed"]]
    assert code == 1 and "listens" in failed, report


def test_an_engine_whose_socket_breaks_says_the_rest_over_another_one(start_edge, start_mock, receiver, tmp_path):
    script = tmp_path / "cut.jsonl"
    script.write_text("\n".join(json.dumps(step) for step in [
        {"do": "tone", "ms": 500}, {"do": "mark", "name": "begun"}, {"do": "cut"}, {"do": "tone", "ms": 500},
        {"do": "mark", "name": "said"},
        {"do": "cut"}, {"do": "hang_up"},
    ]))
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["bot"] = {"url": start_mock("edge.v1", "--script", script), "dialect": "edge.v1"}
    config["providers"]["sip-main"]["engine"] = "bot"
    edge = start_edge(config)
    board = Switchboard()
    try:
        caller = board.call(edge.sip["udp"], NUMBER, CALLER)
        assert caller.answered.wait(10)
        call = until(lambda: edge.calls(), what="the call")[0]["call_id"]
        assert receiver.last_event(call)["edge"]["end_reason"] == "engine_hung_up"
        assert [line["what"] for line in edge.timeline(call)].count("engine resumed") == 2
    finally:
        board.end()


def test_callers_hear_themselves_through_every_dialect(start_edge, start_mock, receiver):
    dialects = [dialect for dialect in BOTS + CLOUD if dialect not in WIDEBAND]
    board = Switchboard()
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    routes = []
    for place, dialect in enumerate(dialects):
        engine = {"url": start_mock(dialect), "dialect": dialect}
        if dialect in ("vonage", "pipecat"):
            engine["sample_rate"] = 8000
        config["engines"][dialect.replace(".", "-")] = engine
        routes.append({"number": f"+1555020{place:02}", "engine": dialect.replace(".", "-")})
    # A Pipecat bot says its own rate; the mock's is 16 kHz unless it hears another.
    config["engines"]["pipecat"].pop("sample_rate")
    config["providers"]["sip-main"]["routes"] = routes
    edge = start_edge(config)
    try:
        callers = {dialect: board.call(edge.sip["udp"], route["number"], CALLER) for dialect, route in zip(dialects, routes)}
        for dialect, caller in callers.items():
            assert caller.answered.wait(10), (dialect, caller.final)
        exact = [dialect for dialect in dialects if dialect != "pipecat"]
        until(lambda: all(len(callers[dialect].frames_of(CALLER)) > 100 for dialect in exact), 20, "everyone's own voice")
        for dialect in exact:
            numbers = callers[dialect].frames_of(CALLER)
            assert numbers == sorted(numbers), dialect
            assert len(numbers) >= 0.98 * (numbers[-1] - numbers[0]), (dialect, numbers)
        assert any(frame for _, frame in callers["pipecat"].heard)
    finally:
        for caller in callers.values():
            caller.hang_up()
        until(lambda: not edge.calls(status="answered"), what="the end of all calls")
        board.end()


def test_a_script_greets_marks_waits_for_a_key_and_hangs_up(start_edge, start_mock, receiver, tmp_path):
    script = tmp_path / "greeting.jsonl"
    audio.write(tmp_path / "hello.wav", audio.speech("greeting"))
    script.write_text("\n".join(json.dumps(step) for step in [
        {"do": "say", "file": "hello.wav"}, {"do": "mark", "name": "said"}, {"do": "tone", "ms": 300}, {"do": "hang_up"},
    ]))
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["bot"] = {"url": start_mock("edge.v1", "--script", script), "dialect": "edge.v1"}
    config["providers"]["sip-main"]["engine"] = "bot"
    edge = start_edge(config)
    board = Switchboard()
    try:
        caller = board.call(edge.sip["udp"], NUMBER, CALLER)
        assert caller.answered.wait(10)
        call = until(lambda: edge.calls(), what="the call")[0]["call_id"]
        last = receiver.last_event(call, within=30)
        assert last["edge"]["end_reason"] == "engine_hung_up"
        seconds = (caller.heard[-1][0] - caller.heard[0][0])
        assert seconds > len(audio.speech("greeting")) / audio.RATE + 0.2
    finally:
        board.end()


@pytest.fixture
def start_pipecat(tmp_path):
    running = []

    def start(name):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        bot = pathlib.Path(__file__).parent / "bots" / "serializer_bot.py"
        process = Process([sys.executable, bot, name, port], tmp_path / f"{name}.log", cwd=tmp_path)
        running.append(process)
        return port, process

    yield start
    for process in running:
        process.end()


def test_pipecat_bots_with_other_serializers_work_unchanged(start_edge, start_pipecat, receiver, new_phone):
    names = {"telnyx": "telnyx", "plivo": "plivo", "exotel": "exotel", "vonage": "vonage", "protobuf": "pipecat"}
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    routes, bots = [], []
    for place, (serializer, dialect) in enumerate(names.items()):
        port, process = start_pipecat(serializer)
        bots.append(process)
        config["engines"][serializer] = {"url": f"ws://127.0.0.1:{port}/ws", "dialect": dialect}
        routes.append({"number": f"+1555030{place}", "engine": serializer})
    config["providers"]["sip-main"]["routes"] = routes
    # Importing Pipecat takes seconds, five at once on a busy machine many.
    for process in bots:
        until(lambda: "Uvicorn running" in process.text() or not process.is_running(), 120, "a bot's start")
        assert process.is_running(), process.text()
    edge = start_edge(config)
    greeting = audio.speech("greeting")
    for serializer, route in zip(names, routes):
        phone = new_phone(np.concatenate([audio.silence(0.5), greeting, audio.silence(60)]))
        phone.dial(f"sip:{route['number']}@{edge.sip['udp']}")
        phone.wait_for("CALL_ESTABLISHED")
        whole = 0.5 + len(greeting) / audio.RATE + 2
        until(lambda: len(phone.heard()) > whole * audio.RATE, 30, f"the echo of {serializer}")
        phone.hang_up()
        score = audio.pieces_heard(greeting, phone.heard())
        assert np.median(score) > 0.97, (serializer, score)
        until(lambda: not edge.calls(status="answered"), what="the end of the call")
        time.sleep(0.1)
