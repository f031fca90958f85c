"""Calls that begin at the API: a softphone rings, a bot speaks, the API ends it."""

import time

import numpy as np
import pytest

from lab import audio
from lab.edge import usual
from lab.engine import Engine
from lab.pipecat import Runner
from lab.twilio import media, ulaw
from lab.waiting import until

NUMBER = "+16505824074"


def greeter(call):
    """Says the greeting in one piece, as fast as it can, and waits."""
    start = call.wait_for("event", "start")
    call.say(**media(start["streamSid"], ulaw(audio.speech("greeting"))))
    call.listen()


@pytest.fixture
def bot():
    engine = Engine(greeter)
    yield engine
    engine.end()


def configured(url, receiver, phone, **trunk):
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["bot"] = {"url": url, "dialect": "twilio"}
    config["providers"]["sip-main"] |= {"target": f"sip:{phone.address}", "engine": "bot", **trunk}
    return config


def wrap_up(edge, call, disposition="done"):
    return edge.ask("POST", "/api/integrations/providers/sip-main/wrap-up", {"call_id": call, "disposition": disposition})


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_a_bot_speaks_to_who_answers_and_wrap_up_ends_it(start_edge, new_phone, receiver, bot, codec):
    phone = new_phone(audio.silence(60), codec=codec, user=NUMBER)
    edge = start_edge(configured(bot.url, receiver, phone))

    call = edge.place(NUMBER, **{"from": "+18005551234", "context": {"contact_id": "ctc_7"}})
    phone.wait_for("CALL_ESTABLISHED")
    greeting = audio.speech("greeting")
    until(lambda: len(phone.heard()) > audio.RATE + len(greeting), 15, "the greeting")
    shown = edge.call(call)
    wrapped = wrap_up(edge, call, "appointment_made")

    assert (shown["status"], shown["direction"], shown["to"]) == ("answered", "outbound", NUMBER)
    assert (wrapped.status, wrapped.json["disposition"]) == (200, "appointment_made")
    phone.wait_for("CALL_CLOSED")
    last = receiver.last_event(call)
    assert receiver.kinds(call) == ["placed", "answered", "ended"]
    assert (last["edge"]["end_reason"], last["disposition"]) == ("api_hung_up", "appointment_made")
    assert last["context"]["contact_id"] == "ctc_7"
    # A-law has other steps than mu-law: as near as the conversion allows.
    assert audio.find(greeting, phone.heard())[0] > (0.9999 if codec == "PCMU" else 0.99)


def test_nothing_of_the_greeting_is_lost_or_late(start_edge, new_phone, receiver, bot):
    phone = new_phone(audio.silence(60), user=NUMBER)
    edge = start_edge(configured(bot.url, receiver, phone))

    call = edge.place(NUMBER)
    phone.wait_for("CALL_ESTABLISHED")
    greeting = audio.speech("greeting")
    until(lambda: len(phone.heard()) > audio.RATE + len(greeting), 15, "the greeting")
    wrap_up(edge, call)

    score, at = audio.find(greeting, phone.heard())
    assert score > 0.9999
    assert at < 0.5 * audio.RATE


def test_who_does_not_answer_in_time_is_let_be(start_edge, new_phone, receiver, bot):
    phone = new_phone(audio.silence(60), answers="manual", user=NUMBER)
    edge = start_edge(configured(bot.url, receiver, phone))

    call = edge.place(NUMBER, ring_timeout_sec=2)

    phone.wait_for("CALL_INCOMING")
    phone.wait_for("CALL_CLOSED")
    last = receiver.last_event(call)
    assert (last["kind"], last["edge"]["end_reason"]) == ("no_answer", "no_answer")
    assert receiver.kinds(call) == ["placed", "no_answer"]


def test_who_hangs_up_instead_of_answering_is_busy(start_edge, new_phone, receiver, bot):
    phone = new_phone(audio.silence(60), answers="manual", user=NUMBER)
    edge = start_edge(configured(bot.url, receiver, phone))

    call = edge.place(NUMBER)
    phone.wait_for("CALL_INCOMING")
    phone.hang_up()

    last = receiver.last_event(call)
    assert receiver.kinds(call)[0] == "placed"
    assert (last["kind"], last["edge"]["end_reason"]) == ("busy", "busy")


def test_the_same_key_makes_one_call(start_edge, new_phone, receiver, bot):
    phone = new_phone(audio.silence(60), user=NUMBER)
    edge = start_edge(configured(bot.url, receiver, phone))
    path = "/api/integrations/providers/sip-main/calls"

    first, again = (edge.ask("POST", path, {"to": NUMBER}, headers={"Idempotency-Key": "k1"}) for _ in range(2))
    other = edge.ask("POST", path, {"to": NUMBER, "engine": "bot"}, headers={"Idempotency-Key": "k1"})

    assert (first.status, again.status, other.status) == (202, 202, 422)
    assert first.json == again.json
    assert other.json["code"] == "idempotency.conflict"
    phone.wait_for("CALL_ESTABLISHED")
    time.sleep(0.5)
    assert sum(event["type"] == "CALL_ESTABLISHED" for event in phone.events) == 1
    assert len(edge.calls()) == 1


def test_a_pipecat_bot_answers_for_outbound_calls_too(start_edge, new_phone, receiver, tmp_path):
    runner = Runner(tmp_path / "pipecat")
    greeting = audio.speech("greeting")
    phone = new_phone(np.concatenate([audio.silence(0.5), greeting, audio.silence(60)]), user=NUMBER)
    edge = start_edge(configured(runner.url, receiver, phone))

    call = edge.place(NUMBER)
    phone.wait_for("CALL_ESTABLISHED")
    until(lambda: len(phone.heard()) > audio.RATE * 2 + len(greeting), 20, "the echo")
    wrap_up(edge, call)

    assert receiver.last_event(call)["edge"]["end_reason"] == "api_hung_up"
    assert np.median(audio.pieces_heard(greeting, phone.heard())) > 0.99
    assert runner.wait_for("disconnected", call)
    runner.end()
