"""An engine that fails has a stand-in: the caller stays, hears that somebody comes, and speaks on with the next one."""

import json
import socket
import time

import numpy as np
import pytest

from lab import audio, dialect
from lab.edge import usual
from lab.engine import Engine
from lab.waiting import until

NUMBER = "+18005551234"


def configured(first, second, receiver):
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["first"] = {"url": first, "dialect": "edge.v1", "accept_timeout_ms": 1000, "fallback": "second"}
    config["engines"]["second"] = {"url": second, "dialect": "edge.v1", "fallback": "first"}
    config["providers"]["sip-main"]["routes"] = [{"prefix": "", "engine": "first"}]
    return config


def frame(seq, samples):
    header = dialect.HEADER.pack(1, 2, 0, dialect.CODECS["l16_8k"], seq, 0, 1)
    return header + np.asarray(samples).astype("<i2").tobytes()


@pytest.fixture
def second():
    """The stand-in: greets, then listens."""
    greeting = audio.speech("greeting")

    def talk(call):
        call.start = call.wait_for("type", "start")
        call.say(type="accept")
        call.wait_for("type", "answered")
        call.socket.send(frame(0, greeting))
        call.listen()

    engine = Engine(talk, "edge.v1")
    engine.greeting = greeting
    yield engine
    engine.end()


def die(call, how):
    """Fails as `how` says; what was agreed on is agreed on again by the one who stands in."""
    if how == "before deciding":
        call.wait_for("type", "start")
        return
    if how == "never deciding":
        call.listen()
    call.wait_for("type", "start")
    call.say(type="accept")
    call.wait_for("type", "answered")
    call.say(type="context", context={"intent": "billing"})
    time.sleep(1)
    if how == "reset":
        call.socket.socket.shutdown(socket.SHUT_RDWR)
    elif how == "garbage":
        for _ in range(60):
            call.socket.send("this is no JSON")
        call.listen()
    elif how == "going away":
        call.socket.close(1001)


@pytest.mark.parametrize("how", ["before deciding", "never deciding", "reset", "garbage", "going away", "not there"])
def test_a_failed_engine_is_replaced_and_the_caller_stays(start_edge, new_phone, receiver, second, how):
    first = Engine(lambda call: die(call, how), "edge.v1")
    url = "ws://127.0.0.1:9/" if how == "not there" else first.url
    edge = start_edge(configured(url, second.url, receiver))
    phone = new_phone(audio.silence(60))
    began = time.monotonic()

    phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
    until(lambda: second.calls and any(message["type"] == "answered" for _, message in list(second.calls[0].heard)
                                       if isinstance(message, dict)), 10, "the stand-in's call")
    assert time.monotonic() - began < 6
    until(lambda: len(audio.pieces_heard(second.greeting, phone.heard())) and
          np.mean(audio.pieces_heard(second.greeting, phone.heard()) > 0.99) > 0.8, 15, "the stand-in's greeting at the phone")
    phone.hang_up()

    ended = receiver.last_event()
    assert ended["edge"]["end_reason"] == "remote_hung_up"
    assert receiver.kinds() == ["inbound_ringing", "answered", "ended"]
    start = second.calls[0].start
    assert start["parameters"]["fallback_for"] == "first"
    if how in ("reset", "garbage", "going away"):
        assert start["context"]["intent"] == "billing", json.dumps(start)
    first.end()
