"""A softphone that encrypts: baresip's SRTP with keys by SDES, and an engine that hears and is heard in clear."""

import numpy as np
import pytest

from lab import audio, dialect
from lab.edge import usual
from lab.engine import Engine
from lab.waiting import until

NUMBER = "+18005551234"


@pytest.fixture
def place(start_edge, new_phone):
    """`place(policy, mediaenc)`: a call of an encrypting phone to an engine that echoes; edge and phone."""
    ends = []

    def start(policy, mediaenc, says):
        engine = Engine(echo, "edge.v1")
        ends.append(engine)
        config = usual()
        config["engines"]["bot"] = {"url": engine.url, "dialect": "edge.v1"}
        config["providers"]["sip-main"] |= {"srtp": policy, "routes": [{"prefix": "", "engine": "bot"}]}
        edge = start_edge(config)
        phone = new_phone(says, mediaenc=mediaenc)
        phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
        return edge, phone

    yield start
    for engine in ends:
        engine.end()


def echo(call):
    """Says back in the caller's own frames; takes the call first."""
    segment, seq = 1, 0
    call.wait_for("type", "start")
    call.say(type="accept", id="a1")
    while True:
        message = call.next()
        if not isinstance(message, bytes):
            continue
        header = dialect.HEADER.pack(1, 2, 0, message[3], seq, 0, segment)
        call.socket.send(header + message[dialect.HEADER.size:])
        seq += 1


def forged(edge):
    name = "callingedge_voice_datagrams_forged_total"
    return sum(value for key, value in edge.metrics().items() if key.partition("{")[0] == name)


@pytest.mark.parametrize(("policy", "mediaenc"), [("require", "srtp-mand"), ("prefer", "srtp-mand"), ("prefer", "srtp")])
def test_an_encrypted_call_is_heard_both_ways(place, policy, mediaenc):
    greeting = audio.speech("greeting")
    edge, phone = place(policy, mediaenc, np.concatenate([audio.silence(0.5), greeting, audio.silence(60)]))

    phone.wait_for("CALL_ESTABLISHED")
    until(lambda: len(phone.heard()) > audio.RATE * (2 + len(greeting) / audio.RATE), 20, "the greeting's echo")
    phone.hang_up()

    score = audio.pieces_heard(greeting, phone.heard())
    assert np.count_nonzero(score > 0.99) >= len(score) - 2, score
    assert "SRTP is Enabled" in phone.process.text()
    assert forged(edge) == 0


@pytest.mark.parametrize(("policy", "mediaenc"), [("off", "srtp-mand"), ("require", None)])
def test_one_side_that_must_and_one_that_may_not_do_not_speak(place, policy, mediaenc):
    _, phone = place(policy, mediaenc, audio.silence(60))

    closed = phone.wait_for("CALL_CLOSED")

    assert "488" in closed["param"], closed
