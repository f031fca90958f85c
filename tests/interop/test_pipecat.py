"""A softphone speaks with an unmodified Pipecat bot: baresip, the edge, Pipecat's development runner.

    microphone.wav -> baresip ==RTP==> edge --Twilio Media Streams--> runner -> echo pipeline
    dump-*-dec.wav <- baresip <==RTP== edge <------------------------ runner <------+
"""

import numpy as np
import pytest

from lab import audio
from lab.edge import usual
from lab.pipecat import Runner
from lab.waiting import until

NUMBER = "+18005551234"


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    runner = Runner(tmp_path_factory.mktemp("pipecat"))
    yield runner
    runner.end()


@pytest.fixture
def speaker(new_phone):
    """Says the greeting once, half a second after the answer."""
    return new_phone(np.concatenate([audio.silence(0.5), audio.speech("greeting"), audio.silence(60)]))


@pytest.fixture
def listener(new_phone):
    """Says nothing."""
    return new_phone(audio.silence(60))


def configured(engine_url, receiver):
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["bot"] = {"url": engine_url, "dialect": "twilio", "parameters": {"voice": "calm"}}
    config["providers"]["sip-main"]["routes"] = [{"prefix": "", "engine": "bot"}]
    return config


@pytest.fixture
def edge(start_edge, runner, receiver):
    return start_edge(configured(runner.url, receiver))


def call_in(phone, edge):
    """Calls the bot and waits until it is answered; the call's id."""
    phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
    phone.wait_for("CALL_ESTABLISHED")
    return until(lambda: edge.calls(status="answered"), what="an answered call")[0]["call_id"]


def ended(receiver, call):
    """The call's last event, and that there is none behind it."""
    last = receiver.last_event(call)
    assert receiver.events(call)[-1] == last
    return last["edge"]["end_reason"]


def test_a_caller_hears_itself_from_a_pipecat_bot(edge, runner, receiver, speaker):
    call = call_in(speaker, edge)
    greeting = audio.speech("greeting")
    whole = 0.5 + len(greeting) / audio.RATE + 2
    until(lambda: len(speaker.heard()) > whole * audio.RATE, 20, "the greeting's echo")
    speaker.hang_up()

    assert ended(receiver, call) == "remote_hung_up"
    assert receiver.kinds(call) == ["inbound_ringing", "answered", "ended"]
    # Piece by piece: a bot that is late makes a pause somewhere, which is no change of what is said.
    score = audio.pieces_heard(greeting, speaker.heard())
    assert np.median(score) > 0.99, score
    assert np.count_nonzero(score > 0.99) >= len(score) - 2, score
    told = runner.wait_for("call", call)[0]
    assert told["kind"] == "twilio"
    assert told["told"]["to_number"] == NUMBER
    assert told["told"]["body"]["voice"] == "calm"
    assert runner.wait_for("disconnected", call)
    messages = [line["message"]["event"] for line in runner.told("message", call)]
    assert messages == ["stop"]


def test_every_key_reaches_the_bot_once_and_in_order(edge, runner, listener):
    call = call_in(listener, edge)

    listener.press("123467#89")

    keys = [line["key"] for line in runner.wait_for("key", call, count=9)]
    assert keys == list("123467#89")


def test_a_mark_comes_back_when_what_was_before_it_has_been_played(edge, runner, listener):
    call = call_in(listener, edge)

    listener.press("5")
    pressed = runner.wait_for("key", call)[0]["at"]
    returned = runner.wait_for("message", call)[0]

    assert returned["message"]["event"] == "mark"
    assert returned["message"]["mark"] == {"name": "tone"}
    assert 2.9 < returned["at"] - pressed < 4.0


def test_an_interrupted_bot_falls_silent_at_the_caller_at_once(edge, runner, listener):
    call = call_in(listener, edge)

    listener.press("5")
    until(lambda: audio.loud(listener.heard()), what="the tone")
    listener.press("*")
    spoke, interrupted = runner.wait_for("key", call, count=2)
    until(lambda: len(listener.heard()) / audio.RATE > audio.loud(listener.heard())[1] + 1, 20, "silence")

    first, last = audio.loud(listener.heard())
    assert last - first < 2.5, "it was interrupted"
    assert last - first < interrupted["at"] - spoke["at"] + 0.2
    assert not runner.told("message", call), "the mark was thrown away by Pipecat before it was sent"


def test_a_bot_that_ends_its_pipeline_ends_the_call(edge, runner, receiver, listener):
    call = call_in(listener, edge)

    listener.press("0")

    listener.wait_for("CALL_CLOSED", within=15)
    assert ended(receiver, call) == "engine_hung_up"


def test_a_caller_whose_bot_is_killed_hears_an_announcement_and_is_let_go(start_edge, tmp_path, receiver, listener):
    mortal = Runner(tmp_path / "mortal")
    edge = start_edge(configured(mortal.url, receiver))
    call = call_in(listener, edge)
    listener.press("1")
    mortal.wait_for("key", call)

    mortal.process.kill()

    listener.wait_for("CALL_CLOSED", within=20)
    assert ended(receiver, call) == "engine_lost"
    assert min(audio.pieces_heard(audio.speech("announcement"), listener.heard())) > 0.99


def test_a_caller_who_finds_no_bot_is_refused_and_the_event_says_why(start_edge, receiver, listener):
    edge = start_edge(configured("ws://127.0.0.1:1/ws", receiver))

    listener.dial(f"sip:{NUMBER}@{edge.sip['udp']}")

    closed = listener.wait_for("CALL_CLOSED")
    assert closed["param"].startswith("503"), closed
    last = receiver.last_event()
    assert (last["kind"], last["edge"]["end_reason"]) == ("error", "engine_refused")
