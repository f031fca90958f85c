"""Kamailio between the edge and PJSIP, in the way of every dialog: in and out, over UDP, TCP and TLS."""

import pytest

from lab.kamailio import Kamailio
from lab.pjsip import HUMAN, NUMBER, TRANSPORTS
from lab.waiting import until

pytest.importorskip("pjsua2", reason="PJSIP is not installed: tests/peers.sh test")


@pytest.fixture
def between(tmp_path, certificates, new_pjsip, start_echo):
    """`between(transport)`: an edge and a telephone that know only the proxy between them."""
    proxies = []

    def begin(transport):
        proxy = Kamailio(tmp_path / "kamailio", transport, certificates)
        proxies.append(proxy)
        phone = new_pjsip(transport)
        edge = start_echo(proxy)
        proxy.start(NUMBER, edge, phone)
        return edge, proxy, phone

    yield begin
    for proxy in proxies:
        proxy.end()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("way", ["in", "out"])
def test_a_call_stays_with_the_proxy_from_its_invite_to_its_bye(between, transport, way):
    edge, proxy, phone = between(transport)
    call = phone.calls(edge, proxy.address) if way == "in" else phone.called_by(edge)
    phone.hears_greeting()

    phone.order("press", keys="42#", how="RFC2833")
    engine = edge.engine.calls[0]
    until(lambda: [key["digit"] for _, key in engine.messages("type", "dtmf")] == list("42#"), 10, "the keys")
    phone.order("hold")
    edge.wait_for_status(call, "held")
    phone.order("resume")
    edge.wait_for_status(call, "answered")
    if way == "in":
        phone.order("hang_up")
    else:
        edge.ask("POST", "/api/integrations/providers/sip-main/wrap-up", {"call_id": call, "disposition": "done"})
        phone.wait_for("state", state="DISCONNECTED")

    edge.wait_for_end(call)
    assert edge.call(call)["legs"][0]["peer"].startswith("127.0.0.1:")
    # The INVITE, hold and resume; each with its ACK.
    assert (proxy.passed("INVITE"), proxy.passed("ACK"), proxy.passed("BYE")) == (3, 3, 1)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("style", ["blind", "attended"])
def test_a_caller_is_handed_over_through_the_proxy(between, new_pjsip, receiver, transport, style):
    edge, proxy, human = between(transport)
    caller = new_pjsip(transport)
    call = caller.calls(edge, proxy.address)

    to = {"sip_uri": f"sip:{HUMAN}@{proxy.address};transport={transport}"}
    asked = edge.ask("POST", "/api/integrations/providers/sip-main/transfer", {"call_id": call, "to": to, "style": style})

    assert asked.status == 202, asked.body
    human.wait_for("state", state="CONFIRMED")
    until(lambda: "transferred" in receiver.kinds(call), 10, "the outcome")
    assert "error" not in receiver.kinds(call)
    caller.hears_greeting()
    caller.order("hang_up")
    edge.wait_for_end(call)
