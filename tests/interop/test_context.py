"""The context of a call, from the order by REST to a second edge: in `start`, on every leg, in every event, whole."""

import pytest

from lab.edge import usual
from lab.engine import Engine, patient
from lab.switchboard import Switchboard
from lab.waiting import until

DESK = "+16505550100"
SMALL = {"campaign_id": "cmp_7", "contact_id": "ctc_7", "intent": "renewal", "merge_fields": {"first_name": "Zoë", "n": 7}}
LARGE = {**SMALL, "merge_fields": {"story": "x" * 6000, "list": [1, {"two": 2}]}}


@pytest.fixture
def edges(start_edge, receiver):
    """`edges(target)`: two edges, the first with the second as its trunk where no target is given; and their engines."""
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

    def begin(target=None):
        second = edge(config)
        of_first = usual()
        of_first["tenants"]["acme"]["webhook_url"] = receiver.url()
        target = target or second[0].sip["udp"]
        of_first["providers"]["sip-main"] |= {"target": f"sip:{target};transport=udp", "probe_interval_sec": 0}
        return *edge(of_first), *second

    yield begin
    for engine in engines:
        engine.end()


def told(context):
    return {"tenant_id": None, **context}


def starts(engine, count):
    found = until(lambda: [call.start for call in engine.calls if hasattr(call, "start")][count - 1:], 10, f"start {count}")
    return found[0]


def received(first, second_engine, count, context):
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


BOTH = pytest.mark.parametrize("context", [SMALL, LARGE], ids=["in a header", "by reference"])


@BOTH
def test_a_second_edge_gets_the_context_over_every_leg(edges, receiver, context):
    first, first_engine, _, second_engine = edges()
    call = first.place(DESK, context=context)
    assert starts(first_engine, 1)["context"] == told(context)

    assert received(first, second_engine, 1, context) == told(context)
    until(lambda: first.call(call)["status"] == "answered", what="the answer")

    bridged = first.ask("POST", "/api/integrations/providers/sip-main/transfer",
                        {"call_id": call, "to": {"number": "+16505550177"}, "style": "bridge"})
    assert bridged.status == 202, bridged.body
    assert received(first, second_engine, 2, context) == told(context)

    until(lambda: "transferred" in receiver.kinds(), what="the transfer")
    first.ask("POST", "/api/integrations/providers/sip-main/wrap-up", {"call_id": call, "disposition": "done"})
    receiver.last_event()
    events = receiver.events()
    assert [event["kind"] for event in events][-1] == "ended"
    assert all(event["context"] == told(context) for event in events)


@BOTH
def test_a_pbx_that_obeys_a_refer_carries_the_context_to_a_second_edge(edges, receiver, context):
    board = Switchboard({DESK: {"says": 1}}, refer="202 Accepted", notifies=["100 Trying", "200 OK"])
    first, _, second, second_engine = edges(board.address)
    call = first.place(DESK, context=context)
    until(lambda: first.call(call)["status"] == "answered", what="the answer")

    asked = first.ask("POST", "/api/integrations/providers/sip-main/transfer",
                      {"call_id": call, "to": {"number": "+16505550177"}, "style": "blind"})
    assert asked.status == 202, asked.body
    until(lambda: board.refers, what="the REFER")
    refer = board.refers[0]
    carried = [name for name, _ in refer.headers if name == "User-to-User" or name.startswith("X-CallingEdge-")]
    board.call(second.sip["udp"], "+16505550177", 2, headers="".join(f"{name}: {refer[name]}\r\n" for name in carried))

    assert received(first, second_engine, 1, context) == told(context)
    assert receiver.last_event(call)["edge"]["end_reason"] == "transferred"
    assert all(event["context"] == told(context) for event in receiver.events(call))
    board.end()
