"""Webhooks from outside: other people's verifier, the documented recipe, and receivers that behave badly."""

import base64
import json
import pathlib
import re
import signal
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from lab.edge import SECRET, usual
from lab.receiver import Receiver
from lab.traffic import callee, caller
from lab.waiting import until

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"
KINDS_IN = ["inbound_ringing", "answered", "ended"]
KINDS_OUT = ["placed", "answered", "ended"]
FIELDS = ["provider", "kind", "call_id", "direction", "from", "to", "context", "duration_sec", "disposition", "recording_url",
          "transcript_url", "raw", "occurred_at", "edge"]


@pytest.fixture(scope="module")
def is_signed():
    """The function that docs/webhooks.md tells people to copy, as it stands there."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    recipe = next(block for block in blocks if "def is_signed" in block)
    names = {}
    exec(recipe, names)
    return names["is_signed"]


def configured(engine, receiver, target_port=None):
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["bot"] = {"url": engine.url, "dialect": "twilio"}
    trunk = config["providers"]["sip-main"]
    trunk["routes"] = [{"prefix": "", "engine": "bot"}]
    if target_port:
        trunk |= {"target": f"sip:127.0.0.1:{target_port}", "engine": "bot", "probe_interval_sec": 0}
    return config


def posts_of(receiver, call=None):
    return [post for post in list(receiver.posts) if call in (None, json.loads(post.body)["call_id"])]


def one_call_in(edge, receiver, start_traffic, hold_ms=300):
    """From INVITE to BYE; the call's id. Its events may still be on their way."""
    known = {call["call_id"] for call in edge.calls()}
    assert start_traffic(caller, edge, hold_ms=hold_ms).finish() == 0
    return until(lambda: {call["call_id"] for call in edge.calls()} - known, what="the call").pop()


def id_of(post):
    return post.headers["X-CallingEdge-Event-Id"]


def accepted_order(receiver, call, answers):
    """`seq` of the posts that were acknowledged, in the order they were."""
    return [json.loads(post.body)["edge"]["seq"] for post in posts_of(receiver, call) if answers[id(post)] == 204]


def test_both_signatures_of_every_event_verify(start_edge, start_traffic, patient_engine, receiver, is_signed, free_port):
    start_traffic(callee, free_port)
    edge = start_edge(configured(patient_engine, receiver, free_port))

    called = one_call_in(edge, receiver, start_traffic)
    placed = edge.place("+16505824074", context={"tenant_id": "tnt_7", "merge_fields": {"first_name": "Sám"}})
    until(lambda: edge.call(placed)["status"] == "answered", what="the answer")
    wrapped = edge.ask("POST", "/api/integrations/providers/sip-main/wrap-up", {"call_id": placed, "disposition": "done"})
    assert wrapped.status == 200
    receiver.last_event(called), receiver.last_event(placed)

    assert receiver.kinds(called) == KINDS_IN
    assert receiver.kinds(placed) == KINDS_OUT
    assert len(receiver.posts) == 6
    for post in receiver.posts:
        assert Webhook(SECRET).verify(post.body, dict(post.headers)) == json.loads(post.body)
        assert is_signed(SECRET, post.body, post.headers["X-CallingEdge-Signature"])
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(post.body.replace(b"sip-main", b"sip-mean"), dict(post.headers))
        assert not is_signed(SECRET, post.body + b" ", post.headers["X-CallingEdge-Signature"])
        assert not is_signed("another secret", post.body, post.headers["X-CallingEdge-Signature"])
    last = receiver.last_event(placed)
    assert last["disposition"] == "done"
    assert last["context"]["merge_fields"] == {"first_name": "Sám"}


def test_an_event_looks_as_the_contract_says(start_edge, start_traffic, patient_engine, receiver):
    edge = start_edge(configured(patient_engine, receiver))

    call = one_call_in(edge, receiver, start_traffic)
    receiver.last_event(call)

    for seq, post in enumerate(posts_of(receiver, call), 1):
        event = json.loads(post.body)
        assert list(event) == FIELDS
        assert list(event["context"]) == ["tenant_id", "campaign_id", "contact_id", "intent", "merge_fields"]
        assert list(event["edge"]) == ["seq", "mode", "answered_by", "end_reason"]
        assert event["edge"]["seq"] == seq
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", event["occurred_at"])
        assert event["direction"] == "inbound" and event["to"] == "+18005551234"
        assert post.headers["Content-Type"] == "application/json"
        assert post.headers["X-CallingEdge-Provider"] == "sip-main"
        assert id_of(post) == post.headers["webhook-id"]
        assert abs(time.time() - int(post.headers["webhook-timestamp"])) < 60
    assert len({id_of(post) for post in receiver.posts}) == 3


def test_a_secret_of_ones_own_verifies_as_documented(start_edge, start_traffic, patient_engine, receiver, is_signed):
    secret = "plain secret, öffne dich"
    edge = start_edge(configured(patient_engine, receiver), env={"WEBHOOK_SECRET": secret})

    receiver.last_event(one_call_in(edge, receiver, start_traffic))

    for post in receiver.posts:
        assert Webhook(base64.b64encode(secret.encode()).decode()).verify(post.body, dict(post.headers))
        assert is_signed(secret, post.body, post.headers["X-CallingEdge-Signature"])


def slow(_):
    """Longer than the time-out of `usual`."""
    time.sleep(1.6)
    return 204


@pytest.mark.parametrize("trouble", [
    pytest.param(lambda _: 500, id="500"),
    pytest.param(lambda _: 404, id="404"),
    pytest.param(lambda _: (302, {"Location": "/elsewhere"}), id="302"),
    pytest.param(lambda _: (307, {"Location": "/elsewhere"}), id="307"),
    pytest.param(slow, id="slow"),
])
def test_what_is_not_acknowledged_comes_again_unchanged_and_in_order(
    start_edge, start_traffic, patient_engine, receiver, trouble,
):
    answers, failures = {}, {}

    def answer(post):
        """Every event fails twice."""
        failures[id_of(post)] = failures.get(id_of(post), 0) + 1
        troubled = failures[id_of(post)] <= 2
        answers[id(post)] = "trouble" if troubled else 204
        return trouble(post) if troubled else 204

    receiver.answer = answer
    edge = start_edge(configured(patient_engine, receiver))

    call = one_call_in(edge, receiver, start_traffic)
    until(lambda: accepted_order(receiver, call, answers) == [1, 2, 3], 40, "all three, in order")

    bodies = {}
    for post in receiver.posts:
        bodies.setdefault(id_of(post), set()).add(post.body)
        assert post.path == "/", "a redirect was followed"
        assert Webhook(SECRET).verify(post.body, dict(post.headers))
    assert len(bodies) == 3 and all(len(same) == 1 for same in bodies.values())
    until(lambda: [delivery["state"] for delivery in edge.deliveries()] == ["delivered"] * 3, what="the list to tell")
    assert [delivery["attempts"] for delivery in edge.deliveries()] == [3, 3, 3]


def test_a_receiver_that_is_down_gets_everything_when_it_is_back(start_edge, start_traffic, patient_engine, receiver):
    edge = start_edge(configured(patient_engine, receiver))
    receiver.close()

    call = one_call_in(edge, receiver, start_traffic)
    waiting = until(lambda: [one for one in edge.deliveries(state="pending") if one["last_outcome"]], what="an attempt")
    assert "refused" in waiting[0]["last_outcome"].lower(), waiting[0]
    assert waiting[0]["next_attempt_at"]
    receiver.open()

    receiver.last_event(call, within=40)
    assert receiver.kinds(call) == KINDS_IN
    assert [json.loads(post.body)["edge"]["seq"] for post in posts_of(receiver, call)] == [1, 2, 3]


def test_one_receivers_trouble_delays_no_other(start_edge, start_traffic, patient_engine, receiver, free_port):
    start_traffic(callee, free_port)
    receiver.answer = lambda post: slow(post) and 500
    other = Receiver()
    edge = start_edge(configured(patient_engine, receiver, free_port))

    troubled = [edge.place("+16505824074") for _ in range(10)]
    until(lambda: len(receiver.posts) >= 5, what="trouble")
    calls = []
    for _ in range(5):
        call = edge.place("+16505824074", webhook_url=other.url("/hooks"))
        until(lambda: edge.call(call)["status"] == "answered", what="the answer")
        edge.ask("POST", "/api/integrations/providers/sip-main/wrap-up", {"call_id": call, "disposition": "done"})
        other.last_event(call, within=3)
        calls.append(call)

    assert all(other.kinds(call) == KINDS_OUT for call in calls)
    assert all(post.path == "/hooks" for post in other.posts)
    assert not any(other.events(call) for call in troubled)
    other.close()


def test_retry_after_is_honoured(start_edge, start_traffic, patient_engine, receiver):
    receiver.answer = lambda post: (503, {"Retry-After": "4"}) if len(receiver.posts) == 1 else 204
    edge = start_edge(configured(patient_engine, receiver))

    receiver.last_event(one_call_in(edge, receiver, start_traffic), within=20)

    first, second = receiver.posts[:2]
    assert id_of(first) == id_of(second)
    assert 4 <= second.at - first.at < 8


def test_a_delivery_can_be_sent_again(start_edge, start_traffic, patient_engine, receiver, is_signed):
    edge = start_edge(configured(patient_engine, receiver))
    edge.config["tenants"]["rival"] = {}
    call = one_call_in(edge, receiver, start_traffic)
    receiver.last_event(call)
    first = posts_of(receiver, call)[1]
    until(lambda: len(edge.deliveries(state="delivered")) == 3, what="the list to tell")
    time.sleep(1.1)  # webhook-timestamp counts seconds

    again = edge.ask("POST", f"/api/webhooks/deliveries/{id_of(first)}/replay")

    assert again.status == 202 and again.json["state"] == "pending"
    until(lambda: len(receiver.posts) == 4, what="the replay")
    replayed = receiver.posts[3]
    assert (id_of(replayed), replayed.body) == (id_of(first), first.body)
    assert int(replayed.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    assert Webhook(SECRET).verify(replayed.body, dict(replayed.headers))
    missing = edge.ask("POST", "/api/webhooks/deliveries/evt_01JVNT5C8Z3W5Q2R8K6M0X4H7D_3/replay")
    assert (missing.status, missing.json["code"]) == (404, "delivery.not_found")
    edge.write()
    rival = edge.new_token("rival", ["events:read"])
    foreign = edge.ask("POST", f"/api/webhooks/deliveries/{id_of(first)}/replay", token=rival)
    assert (foreign.status, foreign.json["code"]) == (404, "delivery.not_found")
    assert edge.ask("GET", "/api/webhooks/deliveries", token=rival).json["deliveries"] == []


def test_an_address_of_the_edges_own_network_is_not_reached_unless_allowed(
    start_edge, start_traffic, patient_engine, receiver,
):
    config = configured(patient_engine, receiver)
    config["webhooks"]["allow_private"] = False
    edge = start_edge(config)

    call = one_call_in(edge, receiver, start_traffic)
    refused = until(lambda: [one for one in edge.deliveries() if one["last_outcome"]], what="an attempt")[0]
    assert refused["last_outcome"] == "refused address 127.0.0.1 (loopback)"
    assert receiver.posts == []

    config["webhooks"]["allow_networks"] = ["127.0.0.0/8"]
    edge.write()
    edge.process.signal(signal.SIGHUP)
    receiver.last_event(call, within=30)
    assert receiver.kinds(call) == KINDS_IN


@pytest.mark.parametrize(("url", "outcome"), [
    ("http://169.254.169.254/latest/meta-data/", "refused address 169.254.169.254 (link-local)"),
    ("http://[::ffff:169.254.169.254]/", "refused address ::ffff:169.254.169.254 (link-local)"),
    ("http://0.0.0.0:1/", "refused address 0.0.0.0 (unspecified)"),
])
def test_some_addresses_are_never_reached(start_edge, start_traffic, patient_engine, receiver, url, outcome, free_port):
    start_traffic(callee, free_port)
    edge = start_edge(configured(patient_engine, receiver, free_port))

    call = edge.place("+16505824074", webhook_url=url)

    tried = until(lambda: [one for one in edge.deliveries() if one["call_id"] == call and one["last_outcome"]], what="an attempt")
    assert tried[0]["last_outcome"] == outcome


def test_a_name_is_judged_by_its_address(start_edge, start_traffic, patient_engine, receiver):
    config = configured(patient_engine, receiver)
    config["webhooks"]["allow_private"] = False
    config["tenants"]["acme"]["webhook_url"] = f"http://localhost:{receiver.port}/"
    edge = start_edge(config)

    one_call_in(edge, receiver, start_traffic)

    refused = until(lambda: [one for one in edge.deliveries() if one["last_outcome"]], what="an attempt")[0]
    assert re.fullmatch(r"refused address (127\.0\.0\.1|::1) \(loopback\)", refused["last_outcome"])
    assert receiver.posts == []


def test_while_a_secret_is_rotated_both_verify(start_edge, start_traffic, patient_engine, receiver, is_signed):
    old, new = SECRET, "whsec_" + base64.b64encode(b"the next secret of the tenant").decode()
    config = configured(patient_engine, receiver)
    edge = start_edge(config)

    def signed_with(secrets):
        call = one_call_in(edge, receiver, start_traffic)
        receiver.last_event(call)
        for post in posts_of(receiver, call):
            for secret in (old, new):
                assert is_signed(secret, post.body, post.headers["X-CallingEdge-Signature"]) == (secret in secrets)
                if secret in secrets:
                    Webhook(secret).verify(post.body, dict(post.headers))
                else:
                    with pytest.raises(WebhookVerificationError):
                        Webhook(secret).verify(post.body, dict(post.headers))

    def reload(**secrets):
        for name, secret in secrets.items():
            (edge.directory / name).write_text(secret)
            config["tenants"]["acme"][name] = {"file": name}
        edge.write()
        before = sum(line["fields"].get("message") == "the configuration was read again" for line in edge.log())
        edge.process.signal(signal.SIGHUP)
        until(lambda: sum(line["fields"].get("message") == "the configuration was read again" for line in edge.log())
              > before, what="the reload")

    signed_with({old})
    reload(webhook_secret=new, webhook_secret_previous=old)
    signed_with({old, new})
    del config["tenants"]["acme"]["webhook_secret_previous"]
    reload(webhook_secret=new)
    signed_with({new})
