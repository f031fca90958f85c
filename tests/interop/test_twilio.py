"""What the Twilio dialect promises beyond what Pipecat uses, with a softphone at the other end."""

import base64
import time

import numpy as np
import pytest

from lab import audio
from lab.edge import usual
from lab.engine import Engine
from lab.twilio import clear, mark, media, ulaw
from lab.waiting import until


@pytest.fixture
def talking(start_edge, new_phone, receiver):
    """`talking(talk)`: a telephone that is answered by a bot which does what `talk(call, stream)` says."""
    engines = []

    def start(talk):
        engine = Engine(lambda call: talk(call, call.wait_for("event", "start")["streamSid"]))
        engines.append(engine)
        config = usual()
        config["tenants"]["acme"]["webhook_url"] = receiver.url()
        config["engines"]["bot"] = {"url": engine.url, "dialect": "twilio"}
        config["providers"]["sip-main"]["routes"] = [{"prefix": "", "engine": "bot"}]
        edge = start_edge(config)
        phone = new_phone(np.concatenate([audio.speech("greeting"), audio.silence(60)]))
        phone.dial(f"sip:+18005551234@{edge.sip['udp']}")
        phone.wait_for("CALL_ESTABLISHED")
        return edge, phone, engine

    yield start
    for engine in engines:
        engine.end()


def tone(seconds, pitch=440):
    at = np.arange(int(audio.RATE * seconds)) / audio.RATE
    return ulaw(8000 * np.sin(2 * np.pi * pitch * at))


def test_marks_come_back_in_order_when_they_are_reached(talking):
    told = []

    def talk(call, stream):
        began = time.monotonic()
        for name in ("one", "two", "three"):
            call.say(**media(stream, tone(0.5)))
            call.say(**mark(stream, name))
        for _ in range(3):
            returned = call.wait_for("event", "mark")
            told.append((returned["mark"]["name"], time.monotonic() - began))

    edge, phone, engine = talking(talk)
    phone.wait_for("CALL_CLOSED")

    assert [name for name, _ in told] == ["one", "two", "three"]
    for (_, at), expected in zip(told, (0.5, 1.0, 1.5)):
        assert expected - 0.05 < at < expected + 0.4, told


def test_a_clear_silences_at_once_and_brings_every_mark_back(talking):
    told = {}

    def talk(call, stream):
        call.say(**media(stream, tone(10)))
        call.say(**mark(stream, "first"))
        call.say(**media(stream, tone(10)))
        call.say(**mark(stream, "second"))
        began = time.monotonic()
        while time.monotonic() < began + 1:
            call.next(1)
        told["spoke"] = time.monotonic() - began
        call.say(**clear(stream))
        told["cleared"] = time.monotonic()
        told["marks"] = [call.wait_for("event", "mark")["mark"]["name"] for _ in range(2)]
        told["back"] = time.monotonic()
        call.say(**media(stream, tone(0.5)))
        call.say(**mark(stream, "after"))
        assert call.wait_for("event", "mark")["mark"]["name"] == "after"

    edge, phone, engine = talking(talk)
    phone.wait_for("CALL_CLOSED")

    assert told["marks"] == ["first", "second"]
    assert told["back"] - told["cleared"] < 0.2
    assert abs(audio.seconds_of_sound(phone.heard()) - told["spoke"] - 0.5) < 0.15


def test_the_bot_hears_the_caller_as_it_speaks(talking, receiver):
    edge, phone, engine = talking(lambda call, stream: call.listen())
    call = engine.calls[0]
    greeting = audio.speech("greeting")
    until(lambda: len(call.messages("event", "media")) > 50 + len(greeting) / 160, 15, "the greeting")
    phone.press("3")
    until(lambda: call.messages("event", "dtmf"), what="the key")
    phone.hang_up()
    assert call.over.wait(10)

    kinds = [message["event"] for _, message in call.heard]
    assert kinds[:2] == ["connected", "start"] and kinds[-1] == "stop"
    numbers = [int(message["sequenceNumber"]) for _, message in call.heard[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    chunks = [message["media"] for _, message in call.messages("event", "media")]
    assert [int(chunk["chunk"]) for chunk in chunks] == list(range(1, len(chunks) + 1))
    codes = np.frombuffer(b"".join(base64.b64decode(chunk["payload"]) for chunk in chunks), np.uint8)
    said = np.frombuffer(ulaw(greeting), np.uint8)
    begins = next(at for at in range(len(codes) - len(said)) if np.array_equal(codes[at:at + len(said)], said))
    assert begins < audio.RATE, "bit for bit, what the telephone sent"
    key = call.messages("event", "dtmf")[0][1]["dtmf"]
    assert key == {"track": "inbound_track", "digit": "3"}


@pytest.mark.parametrize("chunk", [1, 7, 160, 333, 4000])
def test_audio_may_come_in_pieces_of_any_length(talking, chunk):
    greeting = audio.speech("greeting")
    codes = ulaw(greeting)

    def talk(call, stream):
        for at in range(0, len(codes), chunk):
            call.say(**media(stream, codes[at:at + chunk]))
        call.say(**mark(stream, "end"))
        call.wait_for("event", "mark", within=15)

    edge, phone, engine = talking(talk)
    phone.wait_for("CALL_CLOSED", within=20)

    score = audio.pieces_heard(greeting, phone.heard())
    assert min(score) > 0.999, score


def test_a_bot_that_is_asked_to_go_hears_why_it_stops(talking, receiver):
    edge, phone, engine = talking(lambda call, stream: call.listen())

    wrapped = edge.ask("POST", "/api/integrations/providers/sip-main/wrap-up",
                       {"call_id": edge.calls()[0]["call_id"], "disposition": "done"})

    assert wrapped.status == 200
    assert engine.calls[0].over.wait(5)
    assert engine.calls[0].heard[-1][1]["event"] == "stop"
    assert engine.calls[0].socket.close_code == 1000


@pytest.mark.parametrize("nonsense", [
    "{", "[]", '"media"', '{"event":"sing"}', '{"event":"media","media":{"payload":"***"}}', '{"event":"media"}',
    '{"event":"media","streamSid":"MZ0","media":{"payload":""}}', '{"event":"mark"}',
])
def test_nonsense_does_not_end_a_call(talking, nonsense):
    told = []

    def talk(call, stream):
        for _ in range(10):
            call.socket.send(nonsense)
        call.say(**media(stream, tone(0.2)))
        call.say(**mark(stream, "well"))
        told.append(call.wait_for("event", "mark")["mark"]["name"])

    edge, phone, engine = talking(talk)

    phone.wait_for("CALL_CLOSED")
    assert told == ["well"]
