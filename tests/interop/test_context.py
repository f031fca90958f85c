"""The context of a call, from the order by REST to a second edge: in `start`, on every leg, in every event, whole."""

import pytest

from lab.edge import usual
from lab.engine import Engine, patient
from lab.waiting import until

DESK = "+16505550100"
SMALL = {"campaign_id": "cmp_7", "contact_id": "ctc_7", "intent": "renewal", "merge_fields": {"first_name": "Zoë", "n": 7}}
LARGE = {**SMALL, "merge_fields": {"story": "x" * 6000, "list": [1, {"two": 2}]}}


@pytest.fixture
def edges(start_edge, receiver):
    """Two edges, the first with the second as its trunk; and their engines."""
    engines = []

    def accepting(call):
        call.start = call.wait_for("type", "start")
        call.say(type="accept")
        patient(call)

    def edge(config):
        engine = Engine(accepting, "edge.v1")
        engines.append(engine)
        config["engines"]["bot"] = {"url": engine.url, "dialect": "edge.v1"}
        config["providers"]["sip-main"]["engine"] = "bot"
        return start_edge(config), engine

    config = usual()
    config["providers"]["sip-main"]["pass_headers"] = ["X-CallingEdge-Context-Ref"]
    second = edge(config)
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["providers"]["sip-main"]["target"] = f"sip:{second[0].sip['udp']};transport=udp"
    yield *edge(config), *second
    for engine in engines:
        engine.end()


def told(context):
    return {"tenant_id": None, **context}


def starts(engine, count):
    found = until(lambda: [call.start for call in engine.calls if hasattr(call, "start")][count - 1:], 10, f"start {count}")
    return found[0]


@pytest.mark.parametrize("context", [SMALL, LARGE], ids=["in a header", "by reference"])
def test_a_second_edge_gets_the_context_over_every_leg(edges, receiver, context):
    first, first_engine, second, second_engine = edges
    call = first.place(DESK, context=context)
    assert starts(first_engine, 1)["context"] == told(context)

    def received(count):
        """What the second edge's engine was told; where that is a reference, what the first edge answers."""
        start = starts(second_engine, count)
        reference = dict(start["sip"]["headers"]).get("X-CallingEdge-Context-Ref")
        if context is SMALL:
            assert reference is None
            return start["context"]
        assert {**start["context"], "merge_fields": None} == {**told(context), "merge_fields": None}, "what fits comes by itself"
        whole = first.ask("GET", f"/api/context/{reference}")
        assert whole.status == 200
        assert first.ask("GET", f"/api/context/{reference}").status == 404, "once"
        return whole.json

    assert received(1) == told(context)
    until(lambda: first.call(call)["status"] == "answered", what="the answer")

    bridged = first.ask("POST", "/api/integrations/providers/sip-main/transfer",
                        {"call_id": call, "to": {"number": "+16505550177"}, "style": "bridge"})
    assert bridged.status == 202, bridged.body
    assert received(2) == told(context)

    until(lambda: "transferred" in receiver.kinds(), what="the transfer")
    first.ask("POST", "/api/integrations/providers/sip-main/wrap-up", {"call_id": call, "disposition": "done"})
    receiver.last_event()
    events = receiver.events()
    assert [event["kind"] for event in events][-1] == "ended"
    assert all(event["context"] == told(context) for event in events)
