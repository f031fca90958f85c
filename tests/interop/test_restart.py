"""kill -9 in the middle of calls: what the next start makes of it, on the same store.

After every round, for every call that the edge ever spoke of: one last event, `seq` without gaps, one id an event, and the
receiver has all of them.
"""

import collections
import json
import os
import random
import time

from lab.edge import usual
from lab.traffic import callee, caller
from lab.waiting import until

CALLS = 10
ROUNDS = int(os.environ.get("KILL_ROUNDS", "6"))
SEED = int(os.environ.get("KILL_SEED", time.time_ns()))


def configured(engine, receiver, target_port):
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["bot"] = {"url": engine.url, "dialect": "twilio"}
    config["providers"]["sip-main"] |= {
        "target": f"sip:127.0.0.1:{target_port}", "engine": "bot", "probe_interval_sec": 0,
    }
    return config


def all_calls(edge):
    calls, cursor = [], ""
    while cursor is not None:
        page = edge.ask("GET", f"/api/calls?limit=200{cursor and '&cursor=' + cursor}").json
        calls += page["calls"]
        cursor = page["next_cursor"]
    return calls


def told_of(receiver):
    """Every call's events as they were posted: (id, event), each pair once."""
    calls = collections.defaultdict(dict)
    for post in list(receiver.posts):
        event, name = json.loads(post.body), post.headers["X-CallingEdge-Event-Id"]
        known = calls[event["call_id"]].setdefault(name, event)
        assert known == event, "an event does not change"
    return {call: list(events.items()) for call, events in calls.items()}


def check_all(edge, receiver):
    """The promises of the contract, for all calls of all starts."""
    calls = {call["call_id"]: call for call in all_calls(edge)}
    told = told_of(receiver)
    assert set(told) <= set(calls), "an event of a call that nobody knows"
    assert set(calls) <= set(told), "a call without events"
    for call_id, events in told.items():
        events.sort(key=lambda pair: pair[1]["edge"]["seq"])
        seqs = [event["edge"]["seq"] for _, event in events]
        assert seqs == list(range(1, len(seqs) + 1)), (call_id, seqs)
        lasts = [event for _, event in events if event["edge"]["end_reason"]]
        assert len(lasts) == 1 and events[-1][1] is lasts[0], (call_id, [event["kind"] for _, event in events])
        shown = calls[call_id]
        assert shown["status"] == "ended"
        assert shown["end_reason"] == lasts[0]["edge"]["end_reason"]
        assert edge.call(call_id) == shown
    return told


def wait_until_all_is_told(edge):
    until(lambda: all(call["status"] == "ended" for call in all_calls(edge)), what="every call closed")
    until(lambda: not edge.deliveries(state="pending"), 60, "every event delivered")


def test_calls_that_a_kill_cuts_off_are_closed_by_the_next_start(start_edge, start_traffic, patient_engine, receiver, free_port):
    edge = start_edge(configured(patient_engine, receiver, free_port))
    traffic = start_traffic(caller, edge, calls=CALLS, hold_ms=60_000)
    until(lambda: receiver.kinds().count("answered") == CALLS, 20, f"{CALLS} calls in")

    edge.kill()
    traffic.end()
    edge.start()
    wait_until_all_is_told(edge)

    told = check_all(edge, receiver)
    assert len(told) == CALLS
    for events in told.values():
        assert [event["kind"] for _, event in events] == ["inbound_ringing", "answered", "ended"]
        assert events[-1][1]["edge"]["end_reason"] == "edge_restarted"
    until(lambda: edge.metrics().get("callingedge_calls") == 0, what="the gauge to tell")


def test_a_second_kill_during_recovery_tells_nothing_twice(start_edge, start_traffic, patient_engine, receiver, free_port):
    edge = start_edge(configured(patient_engine, receiver, free_port))
    traffic = start_traffic(caller, edge, calls=CALLS, hold_ms=60_000)
    until(lambda: receiver.kinds().count("answered") == CALLS, 20, f"{CALLS} calls in")
    chance = random.Random(SEED)
    print(f"KILL_SEED={SEED}")

    edge.kill()
    traffic.end()
    for _ in range(10):
        edge.launch()
        time.sleep(chance.uniform(0, 0.15))
        edge.kill()
    edge.start()
    wait_until_all_is_told(edge)

    assert len(check_all(edge, receiver)) == CALLS


def test_kills_at_random_moments_leave_every_call_with_one_end(
    start_edge, start_traffic, patient_engine, receiver, free_port,
):
    chance = random.Random(SEED)
    print(f"KILL_SEED={SEED}")
    start_traffic(callee, free_port)
    edge = start_edge(configured(patient_engine, receiver, free_port))
    acknowledged = []

    for round_ in range(ROUNDS):
        traffic = start_traffic(caller, edge, calls=CALLS, hold_ms=chance.randrange(50, 1500), rate=chance.choice([10, 50]))
        moment = time.monotonic() + chance.uniform(0.05, 2)
        while time.monotonic() < moment:
            acknowledged.append(edge.place("+16505824074", context={"intent": f"round {round_}"}))
            if chance.random() < 0.5:
                edge.ask("POST", "/api/integrations/providers/sip-main/wrap-up",
                         {"call_id": chance.choice(acknowledged), "disposition": "done"})
            time.sleep(chance.uniform(0, 0.2))
        edge.kill()
        traffic.end()
        edge.start()

    wait_until_all_is_told(edge)
    told = check_all(edge, receiver)
    reasons = collections.Counter(events[-1][1]["edge"]["end_reason"] for events in told.values())
    print(f"{len(told)} calls, {reasons}")
    assert set(acknowledged) <= set(told), "a call that was acknowledged is never forgotten"
    assert reasons["edge_restarted"] > 0
