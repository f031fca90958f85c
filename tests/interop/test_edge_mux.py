"""edge.mux.v1 from outside: two telephones at once, one socket to the engine node."""

import json
import socket

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from lab import audio, dialect
from lab.edge import usual
from lab.node import Node
from lab.waiting import until

NUMBER = "+18005551234"


def schema(name):
    return Draft202012Validator(json.loads((dialect.ENGINE / "schemas" / f"mux.{name}.json").read_text()))


def configured(url, receiver, **more):
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["node"] = {"url": url, "dialect": "edge.mux.v1", **more}
    config["providers"]["sip-main"]["routes"] = [{"prefix": "", "engine": "node"}]
    return config


@pytest.fixture
def node():
    node = Node()
    yield node
    for line in node.sockets:
        check_messages(line)
    node.end()


def check_messages(line):
    """Every message keeps to the envelope, and without it to the schema of edge.v1, or is one of the socket's own."""
    for message in line.messages:
        schema("envelope").validate(message)
        if message["type"] == "close":
            schema("to-engine.close").validate(message)
            continue
        dialect.check_message(json.dumps({key: value for key, value in message.items() if key != "call"}), dialect.TO_ENGINE)


def heard_back(phone, said):
    score = audio.pieces_heard(said, phone.heard())
    return np.count_nonzero(score > 0.99) >= len(score) - 2


def test_two_telephones_hear_themselves_over_one_socket_and_one_may_hang_up(start_edge, new_phone, receiver, node):
    greeting = audio.speech("greeting")
    phones = [new_phone(np.concatenate([audio.silence(0.5 + number), greeting, audio.silence(60)])) for number in range(2)]
    edge = start_edge(configured(node.url, receiver, idle_timeout_ms=500))

    for phone in phones:
        phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
    for phone in phones:
        phone.wait_for("CALL_ESTABLISHED")
    phones[0].press("7")
    for phone in phones:
        until(lambda: heard_back(phone, greeting), 20, "the greeting's echo")
    assert edge.metrics()['callingedge_voice_shared_sockets{worker="0"}'] == 1
    phones[0].hang_up()
    line = node.sockets[0]
    until(lambda: line.told("close"), what="the first call's close")
    gone = line.told("close")[0]["call"]
    stays = {1: 2, 2: 1}[gone]
    before = len(line.frames[stays])
    until(lambda: len(line.frames[stays]) > before + 50, what="a second of the call that goes on")
    phones[1].hang_up()

    until(line.over.is_set, what="the idle socket's end")
    assert line.closed == 1000 and len(node.sockets) == 1
    assert [message["digit"] for message in line.told("dtmf")] == ["7"]
    for call in (1, 2):
        kinds = [message["type"] for message in line.messages if message["call"] == call]
        assert kinds[0] == "start" and kinds[-2:] == ["stop", "close"]
        assert [frame["seq"] for frame in line.frames[call]] == list(range(len(line.frames[call])))
    both = [calls for calls in line.batches if set(calls) == {1, 2}]
    assert len(both) > 50, "batches carry the audio of both calls"
    assert {call["end_reason"] for call in edge.calls()} == {"remote_hung_up"}


def test_a_socket_that_breaks_is_dialled_once_and_both_calls_go_on(start_edge, new_phone, receiver, node):
    phones = [new_phone(np.concatenate([audio.speech("greeting"), audio.silence(60)])) for _ in range(2)]
    edge = start_edge(configured(node.url, receiver))
    for phone in phones:
        phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
    until(lambda: node.sockets and all(len(node.sockets[0].frames.get(call, ())) > 50 for call in (1, 2)), 20, "both calls")

    node.sockets[0].socket.socket.shutdown(socket.SHUT_RDWR)
    until(lambda: len(node.sockets) == 2 and all(len(node.sockets[1].frames.get(call, ())) > 100 for call in (1, 2)), 20,
          "both calls on another socket")
    for phone in phones:
        phone.hang_up()
    until(lambda: len(node.sockets[1].told("stop")) == 2, what="the end of both")

    first, second = node.sockets
    tokens = {message["resume"]["token"] for message in first.told("start")}
    assert {message["token"] for message in second.told("resume")} == tokens and len(tokens) == 2
    assert not second.told("start")
    for call in edge.calls():
        events = [entry["what"] for entry in edge.timeline(call["call_id"])]
        assert "engine lost" in events and "engine resumed" in events, events
        assert call["end_reason"] == "remote_hung_up"


def test_calls_of_a_node_that_is_not_there_are_refused_each_by_itself(start_edge, new_phone, receiver):
    edge = start_edge(configured("ws://127.0.0.1:9/", receiver))
    phones = [new_phone(audio.silence(5)) for _ in range(2)]
    for phone in phones:
        phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
    until(lambda: len(edge.calls(status="ended")) == 2, what="the end of both")
    assert {call["end_reason"] for call in edge.calls()} == {"engine_refused"}
