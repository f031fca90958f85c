"""SIPp proves a password to the edge: by digest beside its address, and from anywhere."""

import pytest

from lab import traffic
from lab.edge import usual
from lab.waiting import until

SECRET = {"INBOUND_PASSWORD": "correct horse"}


@pytest.fixture
def guarded(start_edge, patient_engine):
    """`guarded(how)`: an edge whose trunk has to show a password."""

    def start(how, **more):
        config = usual()
        config["engines"]["bot"] = {"url": patient_engine.url, "dialect": "twilio"}
        trunk = config["providers"]["sip-main"]
        if how == "digest":
            del trunk["peers"]
        trunk |= {
            "engine": "bot", "inbound_auth": how, "inbound_username": "trunk",
            "inbound_password": {"env": "INBOUND_PASSWORD"}, "inbound_algorithms": ["MD5"], **more,
        }
        return start_edge(config, env=SECRET)

    return start


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("how", ["both", "digest"])
def test_sipp_that_knows_the_password_is_taken(guarded, start_traffic, how, transport):
    edge = guarded(how)

    caller = start_traffic(traffic.proving_caller, edge, transport, "trunk", "correct horse")

    assert caller.finish(within=20) == 0
    until(lambda: [call["status"] for call in edge.calls()] == ["ended"], 10, "the end of the call")
    until(lambda: edge.metrics()["callingedge_calls_challenged_total"] == 1, 10, "the count of challenges")
    assert edge.metrics()["callingedge_calls_unproven_total"] == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("how", ["both", "digest"])
@pytest.mark.parametrize("username, password", [("trunk", "wrong horse"), ("nobody", "correct horse")])
def test_sipp_that_does_not_is_asked_again_and_leaves_nothing(guarded, start_traffic, transport, how, username, password):
    edge = guarded(how)

    caller = start_traffic(traffic.proving_caller, edge, transport, username, password, traffic.NOT_PROVEN)

    assert caller.finish(within=20) == 0
    until(lambda: edge.metrics()["callingedge_calls_unproven_total"] == 1, 10, "the count of wrong answers")
    assert edge.metrics()["callingedge_calls_challenged_total"] == 2
    assert edge.calls() == []
    until(lambda: edge.metrics()["callingedge_sip_dialogs"] == 0, 10, "the end of both dialogs")
