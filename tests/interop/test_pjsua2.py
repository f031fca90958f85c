"""PJSIP in and out over UDP, TCP and TLS: call, keys, hold and resume, transfers of every kind, G.722, SRTP."""

import pytest

from lab import audio
from lab.pjsip import HUMAN, TRANSPORTS
from lab.waiting import until

pytest.importorskip("pjsua2", reason="PJSIP is not installed: tests/peers.sh test")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("way", ["in", "out"])
def test_a_call_with_keys_hold_and_resume(start_echo, new_pjsip, transport, way):
    phone = new_pjsip(transport)
    edge = start_echo(phone)
    call = phone.calls(edge) if way == "in" else phone.called_by(edge)
    phone.hears_greeting()

    phone.order("press", keys="42#", how="RFC2833")
    engine = edge.engine.calls[0]
    until(lambda: [key["digit"] for _, key in engine.messages("type", "dtmf")] == list("42#"), 10, "the keys")
    phone.order("press", keys="7", how="SIP_INFO")
    until(lambda: len(engine.messages("type", "dtmf")) == 4, 10, "the key by INFO")
    phone.order("hold")
    edge.wait_for_status(call, "held")
    phone.order("resume")
    edge.wait_for_status(call, "answered")
    before = len(phone.heard())
    until(lambda: len(phone.heard()) > before + audio.RATE // 2, 10, "audio after the hold")
    assert edge.ask("POST", f"/api/calls/{call}/dtmf", {"digits": "5"}).status in (200, 202, 204)
    phone.wait_for("digit", digit="5")

    phone.order("hang_up")
    edge.wait_for_end(call)
    assert edge.call(call)["end_reason"] in ("remote_hung_up", "caller_hung_up", "callee_hung_up")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_edge_hangs_up(start_echo, new_pjsip, transport):
    phone = new_pjsip(transport)
    edge = start_echo(phone)
    call = phone.calls(edge)

    edge.ask("POST", "/api/integrations/providers/sip-main/wrap-up", {"call_id": call, "disposition": "done"})

    phone.wait_for("state", state="DISCONNECTED")
    edge.wait_for_end(call)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("style", ["blind", "attended", "bridge"])
def test_the_edge_hands_a_caller_over(start_echo, new_pjsip, receiver, transport, style):
    caller, human = new_pjsip(transport), new_pjsip(transport)
    edge = start_echo(human)
    call = caller.calls(edge)

    asked = edge.ask("POST", "/api/integrations/providers/sip-main/transfer",
                     {"call_id": call, "to": {"sip_uri": human.found_by(HUMAN)}, "style": style})

    assert asked.status == 202, asked.body
    human.wait_for("state", state="CONFIRMED")
    until(lambda: "transferred" in receiver.kinds(call), 10, "the outcome")
    assert "error" not in receiver.kinds(call)
    caller.hears_greeting()
    caller.order("hang_up")
    edge.wait_for_end(call)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_phone_sends_the_edge_to_another_phone(start_echo, new_pjsip, transport):
    phone, other = new_pjsip(transport), new_pjsip(transport)
    edge = start_echo(other)
    call = phone.calls(edge)

    phone.order("transfer", to=other.found_by(HUMAN))

    other.wait_for("state", state="CONFIRMED")
    phone.wait_for("transfer", code=200)
    other.hears_greeting()
    other.order("hang_up")
    edge.wait_for_end(call)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_phone_puts_another_phone_in_its_place_after_speaking_with_it(start_echo, new_pjsip, transport):
    phone, other = new_pjsip(transport), new_pjsip(transport)
    edge = start_echo(other)
    call = phone.calls(edge)
    first = phone.told("state", state="CONFIRMED")["call"]
    phone.order("dial", uri=other.found_by("phone"))
    second = until(lambda: next((told["call"] for told in phone.events if told["event"] == "state" and
                                 told["state"] == "CONFIRMED" and told["call"] != first), None), 10, "the second call")

    phone.order("transfer_to", call=first, other=second)

    phone.wait_for("transfer", code=200)
    other.wait_for("replaced")
    other.hears_greeting()
    other.order("hang_up")
    edge.wait_for_end(call)


@pytest.mark.parametrize("way", ["in", "out"])
def test_g722_is_spoken(start_echo, new_pjsip, way):
    phone = new_pjsip("udp", codec="G722")
    edge = start_echo(phone, codecs=["G722", "PCMU"])

    call = phone.calls(edge) if way == "in" else phone.called_by(edge)

    assert phone.wait_for("codec")["codec"] == "G722/16000"
    assert edge.call(call)["legs"][0]["codec"] == "G722"
    phone.hears_greeting()


@pytest.mark.parametrize("way", ["in", "out"])
@pytest.mark.parametrize(("ours", "theirs"), [("require", "require"), ("prefer", "prefer"), ("prefer", "off")])
def test_audio_is_encrypted_where_both_want_it(start_echo, new_pjsip, way, ours, theirs):
    phone = new_pjsip("tls", srtp=theirs)
    edge = start_echo(phone, srtp=ours)

    call = phone.calls(edge) if way == "in" else phone.called_by(edge)

    phone.hears_greeting()
    assert ("SRTP started, keying=SDES" in phone.log()) == (theirs != "off")
    phone.order("hang_up")
    edge.wait_for_end(call)
