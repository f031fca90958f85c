"""REFER by REST, with SIPp as the trunk: taken up, refused, failed later, and never heard of again."""

import pytest

from lab import traffic
from lab.edge import usual
from lab.waiting import until

NUMBER = "+16505824074"
HUMAN = "+16505550100"


@pytest.fixture
def answered(start_edge, start_traffic, patient_engine, receiver, free_port):
    """`answered(answer, notifies)`: an edge with one answered call, and the trunk that has it."""

    def begin(answer, notifies=(), **config_of_trunk):
        trunk = start_traffic(traffic.transferring_trunk, free_port, answer, notifies)
        config = usual()
        config["tenants"]["acme"]["webhook_url"] = receiver.url()
        config["engines"]["bot"] = {"url": patient_engine.url, "dialect": "twilio"}
        config["providers"]["sip-main"] |= {
            "target": f"sip:127.0.0.1:{free_port}", "engine": "bot", "probe_interval_sec": 0, **config_of_trunk,
        }
        edge = start_edge(config)
        call = edge.place(NUMBER)
        until(lambda: edge.call(call)["status"] == "answered", 10, "the answer")
        return edge, trunk, call

    return begin


def transfer(edge, call, **more):
    body = {"call_id": call, "to": {"number": HUMAN}, "reason": "requested_transfer", **more}
    asked = edge.ask("POST", "/api/integrations/providers/sip-main/transfer", body)
    assert asked.status == 202, asked.body


def wrap_up(edge, receiver, call):
    """Ends the call; its last event."""
    ended = edge.ask("POST", "/api/integrations/providers/sip-main/wrap-up", {"call_id": call, "disposition": "done"})
    assert ended.status == 200, ended.body
    return receiver.last_event(call)


def told_failure(edge, receiver, call):
    """The event that says so, while the call goes on with its engine."""
    until(lambda: "error" in receiver.kinds(call), 10, "the told failure")
    assert edge.call(call)["status"] == "answered"
    event = receiver.events(call)[-1]
    assert event["kind"] == "error" and event["edge"]["end_reason"] is None
    return event


@pytest.mark.parametrize("notifies", [
    ["100 Trying", "180 Ringing", "200 OK"],
    ["200 OK"],
])
def test_a_trunk_that_accepts_has_the_caller(answered, receiver, notifies):
    edge, trunk, call = answered("202 Accepted", notifies)

    transfer(edge, call)

    assert receiver.last_event(call)["edge"]["end_reason"] == "transferred"
    assert receiver.kinds(call) == ["placed", "answered", "transferred", "ended"]
    assert trunk.finish(within=20) == 0
    assert edge.call(call)["status"] == "ended"
    said = [step["what"] for step in edge.timeline(call)]
    assert "transfer requested" in said and "transfer accepted" in said


@pytest.mark.parametrize("answer", ["603 Decline", "405 Method Not Allowed", "503 Service Unavailable"])
def test_a_trunk_that_refuses_leaves_the_call_as_it_was(answered, receiver, answer):
    edge, trunk, call = answered(answer)

    transfer(edge, call, style="blind")

    event = told_failure(edge, receiver, call)
    assert str(event["raw"]["status"]) == answer[:3]
    wrap_up(edge, receiver, call)
    assert receiver.kinds(call) == ["placed", "answered", "error", "ended"]
    assert trunk.finish(within=20) == 0


def test_a_person_who_is_busy_leaves_the_call_as_it_was(answered, receiver):
    edge, trunk, call = answered("202 Accepted", ["100 Trying", "486 Busy Here"])

    transfer(edge, call, style="blind")

    told_failure(edge, receiver, call)
    assert wrap_up(edge, receiver, call)["edge"]["end_reason"] == "api_hung_up"
    assert trunk.finish(within=20) == 0


def test_a_trunk_that_never_tells_is_given_up(answered, receiver):
    edge, trunk, call = answered("202 Accepted", transfer_timeout_sec=2)

    transfer(edge, call, style="blind")

    event = told_failure(edge, receiver, call)
    assert event["raw"]["code"] == "transfer.timeout"
    wrap_up(edge, receiver, call)
    assert receiver.kinds(call) == ["placed", "answered", "error", "ended"]
    assert trunk.finish(within=20) == 0


def test_a_failed_transfer_ends_the_call_where_that_was_asked_for(answered, receiver):
    edge, trunk, call = answered("603 Decline")

    transfer(edge, call, style="blind", on_failure="hang_up")

    assert receiver.last_event(call)["edge"]["end_reason"] == "transfer_failed"
    assert trunk.finish(within=20) == 0
