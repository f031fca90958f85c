"""edge.v1 from outside: the engine of the documentation echoes a call, and every message and frame is as documented."""

import json
import pathlib
import re
import socket
import sys

import numpy as np
import pytest

from lab import audio, dialect
from lab.edge import usual
from lab.engine import Engine
from lab.processes import Process
from lab.waiting import until
from lab.wiretap import Wiretap

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "edge_v1_echo.py"
NUMBER = "+18005551234"


def configured(url, receiver, **more):
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["bot"] = {"url": url, "dialect": "edge.v1", **more}
    config["providers"]["sip-main"]["routes"] = [{"prefix": "", "engine": "bot"}]
    return config


@pytest.fixture
def example(tmp_path):
    """The example as its readers start it, and a wiretap on its line."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    engine = Process([sys.executable, "-u", EXAMPLE, port], tmp_path / "example.log")
    until(lambda: "listening" in engine.text() or not engine.is_running(), what="the example's start")
    tap = Wiretap(f"ws://127.0.0.1:{port}", "edge.v1")
    tap.log = engine.text
    yield tap
    tap.end()
    engine.end()


@pytest.fixture
def talking(start_edge, new_phone, receiver):
    """`talking(talk)`: a telephone whose engine does what `talk` says; edge, phone, engine and the tap between."""
    ends = []

    def start(talk, says=None, **more):
        engine = Engine(talk, "edge.v1")
        tap = Wiretap(engine.url, "edge.v1")
        ends.extend([tap, engine])
        edge = start_edge(configured(tap.url, receiver, **more))
        phone = new_phone(audio.silence(60) if says is None else says)
        phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
        return edge, phone, engine, tap

    yield start
    for tap in ends[::2]:
        check_messages(tap)
    for one in ends:
        one.end()


def check_messages(tap):
    """Every JSON message of both sides keeps to its schema; the types that came to the engine and to the edge."""
    texts = [[message for _, message in kept if isinstance(message, str)] for kept in (tap.to_engine, tap.to_edge)]
    heard = [dialect.check_message(message, dialect.TO_ENGINE) for message in texts[0]]
    said = [dialect.check_message(message, dialect.TO_EDGE) for message in texts[1]]
    return heard, said


def frames(kept):
    return [dialect.read_frame(message) for _, message in kept if isinstance(message, bytes)]


def messages(kept, kind):
    return [message for _, text in kept if isinstance(text, str) and (message := json.loads(text))["type"] == kind]


def end_reason(receiver):
    return receiver.last_event()["edge"]["end_reason"]


def tone(seconds):
    at = np.arange(int(audio.RATE * seconds)) / audio.RATE
    return 8000 * np.sin(2 * np.pi * 440 * at)


def frame(segment, samples, seq=0, flags=0):
    """16-bit linear audio for a segment."""
    header = dialect.HEADER.pack(1, 2, flags, dialect.CODECS["l16_8k"], seq, 0, segment)
    return header + np.asarray(samples).astype("<i2").tobytes()


def test_the_golden_vectors_read_as_they_are_told():
    for name, told in dialect.vectors():
        if "refused" in told:
            continue
        fields, payload = dialect.read_frame(bytes.fromhex(told["bytes_hex"]))
        assert {**fields, "audio_hex": payload.hex()} == told["frame"], name


def test_the_schemas_take_the_examples_of_the_documentation():
    """Those within docs/engine/edge-v1.md, and those within the schemas."""
    text = (dialect.ENGINE / "edge-v1.md").read_text()
    to_engine, to_edge = text.split("### To the engine")[1].split("### To the edge")
    for part, validators in ((to_engine, dialect.TO_ENGINE), (to_edge, dialect.TO_EDGE)):
        examples = re.findall(r"```json\n(.*?)```", part, re.DOTALL)
        assert examples
        for example in examples:
            dialect.check_message(example, validators)
        for validator in validators.values():
            for example in validator.schema["examples"]:
                dialect.check_message(json.dumps(example), validators)


def test_the_engine_of_60_lines_echoes_a_call(example, start_edge, new_phone, receiver):
    assert len(EXAMPLE.read_text().splitlines()) <= 60
    greeting = audio.speech("greeting")
    phone = new_phone(np.concatenate([audio.silence(0.5), greeting, audio.silence(60)]))
    edge = start_edge(configured(example.url, receiver))

    phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
    phone.wait_for("CALL_ESTABLISHED")
    phone.press("7*")
    until(lambda: len(phone.heard()) > audio.RATE * (2 + len(greeting) / audio.RATE), 20, "the greeting's echo")
    phone.hang_up()

    assert end_reason(receiver) == "remote_hung_up"
    assert receiver.kinds() == ["inbound_ringing", "answered", "ended"]
    score = audio.pieces_heard(greeting, phone.heard())
    assert np.count_nonzero(score > 0.99) >= len(score) - 2, score
    until(lambda: messages(example.to_engine, "stop"), what="stop")
    heard, said = check_messages(example)
    assert heard[0] == "start" and heard[-1] == "stop"
    assert {"answered", "dtmf", "mark", "cleared", "playout"} <= set(heard)
    assert {"accept", "mark", "clear"} <= set(said)
    start = messages(example.to_engine, "start")[0]
    assert (start["to"], start["direction"], start["version"]) == (NUMBER, "inbound", 1)
    assert [one["digit"] for one in messages(example.to_engine, "dtmf")] == ["7", "*"]
    cleared = messages(example.to_engine, "cleared")[0]
    assert cleared["re"] == "c1" and cleared["segment"] == 1 and cleared["played_ms"] > 0
    until(lambda: "remote_hung_up" in example.log(), what="the example's own log of it")


def test_frames_to_the_engine_are_numbered_and_timed_as_documented(example, start_edge, new_phone, receiver):
    phone = new_phone(np.concatenate([audio.speech("greeting"), audio.silence(60)]))
    edge = start_edge(configured(example.url, receiver))
    phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
    until(lambda: len(frames(example.to_engine)) >= 150, what="three seconds of frames")
    phone.hang_up()
    assert end_reason(receiver) == "remote_hung_up"

    heard = frames(example.to_engine)
    assert all((one["kind"], one["track"], one["codec"]) == (1, 0, "pcmu") for one, _ in heard)
    assert [one["seq"] for one, _ in heard] == list(range(len(heard)))
    assert heard[0][0]["media_time"] == 0
    assert all(len(payload) == 160 for _, payload in heard)
    steps = np.diff([one["media_time"] for one, _ in heard])
    assert set(steps) == {160} and not any(one["flags"] & 1 for one, _ in heard)
    captured = [one["capture_ms"] for one, _ in heard]
    assert captured == sorted(captured)
    assert abs((captured[-1] - captured[0]) - 20 * (len(heard) - 1)) < 400


def test_a_cleared_segment_stops_at_once_and_what_is_late_of_it_stays_silent(talking, receiver):
    answered = {}

    def talk(call):
        call.wait_for("type", "start")
        call.say(type="accept", id="a1")
        call.wait_for("type", "answered")
        call.socket.send(frame(1, tone(10)))
        call.say(type="mark", name="never")
        while call.wait_for("type", "playout")["played_ms"] < 1000:
            pass
        call.say(type="clear", id="c1", segment=1)
        answered["cleared"] = call.wait_for("type", "cleared")
        answered["mark"] = call.messages("type", "mark") or [(0, call.wait_for("type", "mark"))]
        call.socket.send(frame(1, tone(2)))
        call.socket.send(frame(2, tone(0.5), flags=32))
        call.say(type="mark", name="after")
        answered["after"] = call.wait_for("type", "mark")
        call.say(type="hang_up", reason="done", drain=True)
        call.listen()

    edge, phone, engine, tap = talking(talk)
    phone.wait_for("CALL_CLOSED", within=20)

    cleared = answered["cleared"]
    assert cleared["re"] == "c1" and cleared["segment"] == 1
    assert 1000 <= cleared["played_ms"] < 1500
    assert abs(cleared["played_ms"] + cleared["dropped_ms"] - 10_000) <= 20
    assert (answered["mark"][0][1]["name"], answered["mark"][0][1]["result"]) == ("never", "cleared")
    assert (answered["after"]["name"], answered["after"]["result"]) == ("after", "played")
    assert end_reason(receiver) == "engine_hung_up"
    assert abs(audio.seconds_of_sound(phone.heard()) - (cleared["played_ms"] / 1000 + 0.5)) < 0.1


def test_a_pause_keeps_what_waits_and_marks_come_in_order(talking, receiver):
    told = {}

    def talk(call):
        call.wait_for("type", "start")
        call.say(type="accept")
        call.wait_for("type", "answered")
        for segment, name in ((1, "one"), (2, "two"), (3, "three")):
            call.socket.send(frame(segment, tone(0.6)))
            call.say(type="finish", segment=segment)
            call.say(type="mark", name=name)
        call.wait_for("type", "mark")
        call.say(type="pause")
        with pytest.raises(TimeoutError):
            call.wait_for("type", "mark", within=1.5)
        call.say(type="resume")
        call.wait_for("type", "mark"), call.wait_for("type", "mark")
        told["marks"] = call.messages("type", "mark")
        call.say(type="hang_up", drain=True)
        call.listen()

    edge, phone, engine, tap = talking(talk)
    phone.wait_for("CALL_CLOSED", within=20)

    assert [(mark["name"], mark["result"]) for _, mark in told["marks"]] == [
        ("one", "played"), ("two", "played"), ("three", "played")]
    first, last = audio.loud(phone.heard())
    assert last - first > 1.8 + 1.3, "silence in between"
    assert end_reason(receiver) == "engine_hung_up"


def test_keys_of_the_engine_reach_the_telephone(talking):
    def talk(call):
        call.wait_for("type", "start")
        call.say(type="accept")
        call.wait_for("type", "answered")
        call.say(type="dtmf", id="d1", digits="159#", duration_ms=120)
        call.listen()

    edge, phone, engine, tap = talking(talk)

    until(lambda: keys_heard(phone) == list("159#"), 15, "the keys at baresip")


def keys_heard(phone):
    return re.findall(r"received (?:in-band )?(?:DTMF )?event: '(.)' \(end=1\)", phone.process.text()) or re.findall(
        r"received DTMF: '(.)'.*press", phone.process.text())


def test_hold_is_told_and_ends(talking):
    def talk(call):
        call.wait_for("type", "start")
        call.say(type="accept")
        call.listen()

    edge, phone, engine, tap = talking(talk)
    phone.wait_for("CALL_ESTABLISHED")
    until(lambda: messages(tap.to_engine, "answered"), what="answered")

    phone.order("hold")
    until(lambda: messages(tap.to_engine, "hold"), what="hold")
    assert edge.calls()[0]["status"] == "held"
    phone.order("resume")
    until(lambda: messages(tap.to_engine, "resumed"), what="resumed")
    assert edge.calls()[0]["status"] == "answered"


@pytest.mark.parametrize(("word", "status", "kind", "reason"), [
    ({"type": "reject", "sip_code": 486, "reason": "Busy Here"}, "486 Busy Here", "busy", "busy"),
    ({"type": "reject", "sip_code": 503}, "503 Service Unavailable", "error", "engine_refused"),
    ({"type": "reject"}, "603 Decline", "error", "engine_refused"),
])
def test_an_engine_that_rejects_decides_the_sip_answer(talking, receiver, word, status, kind, reason):
    def talk(call):
        call.wait_for("type", "start")
        call.say(**word)
        call.listen()

    edge, phone, engine, tap = talking(talk)

    assert phone.wait_for("CALL_CLOSED")["param"] == status
    last = receiver.last_event()
    assert (last["kind"], last["edge"]["end_reason"]) == (kind, reason)


def test_an_engine_that_never_decides_is_given_up(talking, receiver):
    edge, phone, engine, tap = talking(lambda call: call.listen(), accept_timeout_ms=1500)

    assert phone.wait_for("CALL_RINGING")
    assert phone.wait_for("CALL_CLOSED")["param"].startswith("5")
    assert end_reason(receiver) == "engine_refused"


def test_mistakes_are_answered_and_the_call_goes_on(talking, receiver):
    told = {}

    def talk(call):
        call.wait_for("type", "start")
        call.say(type="accept")
        call.wait_for("type", "answered")
        wrong = [
            ("{", "message.not_json"),
            (json.dumps({"type": "sing", "id": "s1"}), "message.unknown_type"),
            (json.dumps({"type": "mark", "id": "m1"}), "message.malformed"),
            (b"\x01\x02", "frame.short"),
            *((bytes.fromhex(told["bytes_hex"]), told["refused"]) for _, told in dialect.vectors() if "refused" in told),
        ]
        told["codes"] = []
        for message, code in wrong:
            call.socket.send(message)
            error = call.wait_for("type", "error")
            told["codes"].append((error["code"], code, error["fatal"], error["re"]))
        call.say(type="hang_up", id="bye", reason="done")
        call.listen()

    edge, phone, engine, tap = talking(talk)
    phone.wait_for("CALL_CLOSED", within=20)

    assert [(code, fatal) for code, _, fatal, _ in told["codes"]] == [(code, False) for _, code, _, _ in told["codes"]]
    assert [re for *_, re in told["codes"]][1:3] == ["s1", "m1"]
    assert end_reason(receiver) == "engine_hung_up"
    tap.to_edge = [(at, text) for at, text in tap.to_edge if isinstance(text, str) and '"hang_up"' in text]


def test_an_engine_that_closes_without_a_word_is_lost(talking, receiver):
    def talk(call):
        call.wait_for("type", "start")
        call.say(type="accept")
        call.wait_for("type", "answered")

    edge, phone, engine, tap = talking(talk)

    phone.wait_for("CALL_CLOSED", within=20)
    assert end_reason(receiver) == "engine_lost"
    assert min(audio.pieces_heard(audio.speech("announcement"), phone.heard())) > 0.99


def test_a_transferred_telephone_speaks_with_the_other_one(talking, new_phone, receiver):
    """baresip follows a REFER on its own and tells with NOTIFY what came of it."""
    greeting = audio.speech("greeting")
    human = new_phone(np.concatenate([greeting, audio.silence(60)]))
    told = []

    def talk(call):
        call.wait_for("type", "start")
        call.say(type="accept")
        call.wait_for("type", "answered")
        call.say(type="transfer", id="t1", to={"sip_uri": f"sip:phone@{human.address}"}, style="blind")
        while not told or told[-1]["state"] not in ("failed", "transferred"):
            told.append(call.wait_for("type", "transfer", within=20))
        call.listen()

    edge, phone, engine, tap = talking(talk)

    assert end_reason(receiver) == "transferred"
    assert receiver.kinds() == ["inbound_ringing", "answered", "transferred", "ended"]
    assert [step["state"] for step in told][0] == "requested" and told[-1]["state"] == "transferred"
    assert all(step["re"] == "t1" for step in told)
    until(lambda: audio.find(greeting[8000:16000], phone.heard())[0] > 0.99, what="the human's voice at the caller")


def test_context_of_the_engine_is_in_the_events_after_it(talking, receiver):
    def talk(call):
        call.wait_for("type", "start")
        call.say(type="accept")
        call.wait_for("type", "answered")
        call.say(type="context", context={"intent": "cancel", "merge_fields": {"order": 17}})
        call.say(type="hang_up", reason="done")
        call.listen()

    talking(talk)

    context = receiver.last_event()["context"]
    assert (context["intent"], context["merge_fields"]) == ("cancel", {"order": 17})
