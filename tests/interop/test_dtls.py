"""A softphone that takes its keys from a DTLS handshake (DTLS-SRTP), calling and called, and an engine heard in clear."""

import numpy as np
import pytest

from lab import audio
from lab.edge import usual
from lab.engine import Engine
from lab.waiting import until
from test_srtp import NUMBER, echo, forged


@pytest.fixture
def start(start_edge, new_phone):
    """`start(policy, says, **trunk)`: an edge whose engine echoes, and a phone that shakes hands."""
    ends = []

    def start(policy, says, **trunk):
        engine = Engine(echo, "edge.v1")
        ends.append(engine)
        phone = new_phone(says, mediaenc="dtls_srtp", user="+16505824074")
        config = usual()
        config["engines"]["bot"] = {"url": engine.url, "dialect": "edge.v1"}
        config["providers"]["sip-main"] |= {
            "target": f"sip:{phone.address}", "engine": "bot", "from": NUMBER, "srtp": policy,
            "routes": [{"prefix": "", "engine": "bot"}], **trunk}
        return start_edge(config), phone

    yield start
    for engine in ends:
        engine.end()


def spoken():
    greeting = audio.speech("greeting")
    return greeting, np.concatenate([audio.silence(1.5), greeting, audio.silence(60)])


def check_heard(phone, greeting):
    until(lambda: len(phone.heard()) > audio.RATE * (4 + len(greeting) / audio.RATE), 25, "the greeting's echo")
    phone.hang_up()
    score = audio.pieces_heard(greeting, phone.heard())
    assert np.count_nonzero(score > 0.99) >= len(score) - 2, score
    assert "DTLS-SRTP complete" in phone.process.text()


def secured(edge, call):
    return [step for step in edge.timeline(call) if step["what"] == "keys agreed on by DTLS"]


@pytest.mark.parametrize("policy", ["prefer", "require"])
def test_a_caller_who_shakes_hands_is_heard_both_ways(start, policy):
    greeting, says = spoken()
    edge, phone = start(policy, says)

    phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
    phone.wait_for("CALL_ESTABLISHED")

    check_heard(phone, greeting)
    [call] = edge.calls()
    assert len(secured(edge, call["call_id"])) == 1
    assert forged(edge) == 0


def test_who_is_called_by_a_handshake_is_heard_both_ways(start):
    greeting, says = spoken()
    edge, phone = start("require", says, srtp_keys="dtls")

    call = edge.place("+16505824074")
    phone.wait_for("CALL_ESTABLISHED")

    check_heard(phone, greeting)
    assert len(secured(edge, call)) == 1
    assert forged(edge) == 0


def test_a_trunk_without_encryption_refuses_a_handshake(start):
    edge, phone = start("off", audio.silence(60))

    phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
    closed = phone.wait_for("CALL_CLOSED")

    assert "488" in closed["param"], closed
