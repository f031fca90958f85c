"""A thousand calls at fifty a second, speaking, in and out, over UDP and TCP: none fails and nothing of them is left."""

import concurrent.futures
import time

import pytest

from lab import traffic
from lab.edge import usual
from lab.engine import Engine
from lab.ledger import held, total
from lab.waiting import until

CALLS = 1000
RATE = 50
MILLISECONDS = 1000
FRAME_MS = 20

# Connections and tasks that are no call's: our own requests, readers of the store that were opened meanwhile. One lost with each
# call would be a thousand.
BESIDE = 8


def listener(call):
    """Hears everything and says nothing; reading the JSON of fifty thousand frames is not what is tested."""
    for _ in call.socket:
        pass


@pytest.fixture
def engine():
    engine = Engine(listener)
    yield engine
    engine.end()


def configured(engine, **trunk):
    config = usual()
    config["engines"]["ear"] = {"url": engine.url, "dialect": "twilio"}
    config["limits"]["max_calls"] = CALLS
    config["providers"]["sip-main"] |= {"engine": "ear", "probe_interval_sec": 0, **trunk}
    return config


def at_rest(edge):
    """Open files and tasks before the first call."""
    metrics = edge.metrics()
    return metrics["callingedge_open_files"], metrics["callingedge_tasks"]


def what_is_left(edge, rest):
    """What the edge still holds by name; files and tasks beyond those of `rest`."""
    metrics = edge.metrics()
    files, tasks = rest
    beyond = {"open files": metrics["callingedge_open_files"] - files - BESIDE, "tasks": metrics["callingedge_tasks"] - tasks - BESIDE}
    return held(metrics) | {name: count for name, count in beyond.items() if count > 0}


def settle(edge, rest):
    """Timers of finished transactions run for 32 s over UDP (RFC 3261 timers H, J; RFC 6026 timer L)."""
    deadline = time.monotonic() + 60
    while left := what_is_left(edge, rest):
        assert time.monotonic() < deadline, f"left of {CALLS} calls: {left}"
        time.sleep(0.5)


def spoken(edge):
    return total(edge.metrics(), "callingedge_voice_frames_to_engine_total")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_thousand_calls_in(start_edge, start_traffic, engine, transport):
    edge = start_edge(configured(engine))
    until(lambda: "callingedge_open_files" in edge.metrics(), 5, "the first look")
    rest = at_rest(edge)

    phones = start_traffic(traffic.speaking_caller, edge, transport, CALLS, RATE, MILLISECONDS)

    assert phones.finish(within=90) == 0
    settle(edge, rest)
    ended = ended_calls(edge)
    assert len(ended) == CALLS
    assert {(call["status"], call["end_reason"]) for call in ended} == {("ended", "remote_hung_up")}
    # Nine tenths of what was said in each call: how much of the first and last words meets an open engine is chance.
    assert spoken(edge) >= 0.9 * CALLS * MILLISECONDS / FRAME_MS


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_thousand_calls_out(start_edge, start_traffic, engine, free_port, transport):
    phones = start_traffic(traffic.speaking_callee, transport, free_port, CALLS, MILLISECONDS)
    edge = start_edge(configured(engine, target=f"sip:127.0.0.1:{free_port};transport={transport}"))
    until(lambda: "callingedge_open_files" in edge.metrics(), 5, "the first look")
    rest = at_rest(edge)

    placed = place_many(edge)

    assert phones.finish(within=90) == 0
    settle(edge, rest)
    ended = ended_calls(edge)
    assert {call["call_id"] for call in ended} == set(placed)
    assert {(call["status"], call["end_reason"]) for call in ended} == {("ended", "max_duration")}
    assert spoken(edge) >= 0.9 * CALLS * MILLISECONDS / FRAME_MS


def place_many(edge):
    """`RATE` a second. The edge hangs up when `max_duration_sec` is over."""
    began = time.monotonic()

    def place(number):
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        return edge.place(f"+1650582{number:04}", max_duration_sec=MILLISECONDS // 1000)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return list(pool.map(place, range(CALLS)))


def ended_calls(edge):
    """All of them, page by page."""
    calls, query = [], {"limit": 200}
    while True:
        answer = edge.ask("GET", "/api/calls?" + "&".join(f"{name}={value}" for name, value in query.items()))
        assert answer.status == 200, answer.body
        calls += answer.json["calls"]
        if not answer.json.get("next_cursor"):
            return calls
        query["cursor"] = answer.json["next_cursor"]
