"""Calls that change hands, with people who speak: every frame of theirs carries its number."""

import json
import time
import wave

import numpy as np
import pytest

from lab import engine
from lab.edge import usual
from lab.switchboard import Switchboard, is_sound
from lab.waiting import until

CALLER, HUMAN, OTHER = 3, 5, 7
DESK, SECOND = "+16505550100", "+16505550101"
TRANSFER = "/api/integrations/providers/sip-main/transfer"


def speaks(call):
    """An edge.v1 engine that takes every call and talks without end, and anew whenever somebody new is there: 0x41."""
    segment = 0
    while True:
        message = call.next(60)
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "start":
            call.say(type="accept")
        elif kind in ("answered", "mode"):
            segment += 1
            header = bytes([1, 2, 0, 0]) + bytes(8) + segment.to_bytes(4, "big")
            for _ in range(30):
                call.socket.send(header + b"\x41" * 8000)
        elif kind == "stop":
            return


@pytest.fixture
def desk(start_edge, receiver):
    """`desk(people)`: an edge, its trunk, its engine, and a caller who speaks with the engine."""
    made = []

    def begin(people, refer="405 Method Not Allowed", notifies=(), workflow=None, number="+18005551234", mode="ai_first",
              talk=speaks):
        board = Switchboard(people, refer, notifies)
        bot = engine.Engine(talk, "edge.v1")
        made.extend([board, bot])
        config = usual()
        config["tenants"]["acme"]["webhook_url"] = receiver.url()
        config["recording"] = {"directory": "tapes"}
        config["engines"]["bot"] = {"url": bot.url, "dialect": "edge.v1"}
        config["providers"]["sip-main"] |= {"target": f"sip:{board.address}", "probe_interval_sec": 0, "transfer_timeout_sec": 2}
        if workflow is None:
            config["providers"]["sip-main"] |= {"engine": "bot", "mode": mode}
        else:
            config["workflows"] = {"desk": {"engine": "bot", **workflow}}
            config["providers"]["sip-main"]["workflow"] = "desk"
        edge = start_edge(config)
        caller = board.call(edge.sip["udp"], number, CALLER)
        assert caller.answered.wait(10), caller.final
        call = until(lambda: edge.calls(), what="the call")[0]["call_id"]
        until(lambda: edge.call(call)["status"] == "answered", what="the answer")
        return edge, board, caller, call, bot

    yield begin
    for one in made:
        one.end()


def hand_over(edge, call, number=DESK, **more):
    asked = edge.ask("POST", TRANSFER, {"call_id": call, "to": {"number": number}, **more})
    assert asked.status == 202, asked.body


def hang_up(caller, receiver, call):
    caller.hang_up()
    return receiver.last_event(call)


def assert_in_order(numbers, least):
    """Frames came one after the other. Where a telephone stumbles, the jitter buffer says one twice, or leaves one out later: of a
    hundred two at most."""
    assert len(numbers) >= 0.98 * least, numbers
    broken = [(one, two) for one, two in zip(numbers, numbers[1:]) if two != (one + 1) % 10_000]
    assert len(broken) <= len(numbers) / 50, broken


def test_a_joined_caller_and_human_hear_every_frame_of_each_other(desk, receiver):
    edge, board, caller, call, bot = desk({DESK: {"says": HUMAN}})
    hand_over(edge, call, style="bridge", reason="asked")
    until(lambda: board.called(DESK) and board.called(DESK)[0].answered.is_set(), what="the human")
    human = board.called(DESK)[0]
    until(lambda: len(caller.frames_of(HUMAN)) > 60 and len(human.frames_of(CALLER)) > 60, what="both voices")

    assert_in_order(caller.frames_of(HUMAN), 60)
    assert_in_order(human.frames_of(CALLER), 60)
    assert caller.frames_of(HUMAN)[0] <= 8, "from the human's first words"
    assert caller.longest_silence(since=caller.heard[10][0]) < 1.0, "never a second without sound"
    assert bot.calls[0].over.wait(5), "the engine is gone"
    shown = edge.call(call)
    assert (shown["status"], shown["mode"]) == ("answered", "routing")
    assert [leg["role"] for leg in shown["legs"]] == ["caller", "human"]
    assert hang_up(caller, receiver, call)["kind"] == "ended"
    assert human.ended.wait(5)
    assert receiver.kinds(call) == ["inbound_ringing", "answered", "transferred", "ended"]
    assert receiver.events(call)[2]["edge"]["mode"] == {"from": "ai_first", "to": "routing", "reason": "asked", "by": "api"}
    quality = until(lambda: (known := edge.call(call)["quality"])["mos"] and known, what="the quality")
    assert quality["loss_pct"] == 0 and 4.3 < quality["mos"] <= 4.5, quality


def test_the_engine_takes_the_caller_back_when_the_human_hangs_up(desk, receiver):
    edge, board, caller, call, bot = desk({DESK: {"says": HUMAN}})
    hand_over(edge, call, style="bridge")
    until(lambda: len(caller.frames_of(HUMAN)) > 10, what="the human's voice")

    left = time.monotonic()
    board.called(DESK)[0].hang_up()
    until(lambda: any(at > left and frame == b"\x41" * 160 for at, frame in list(caller.heard)), what="the engine's voice")

    assert len(bot.calls) == 2, "dialled anew"
    assert edge.call(call)["mode"] == "ai_first"
    hang_up(caller, receiver, call)
    assert receiver.kinds(call) == ["inbound_ringing", "answered", "transferred", "transferred", "ended"]


@pytest.mark.parametrize("refer, notifies", [
    ("405 Method Not Allowed", ()),
    ("603 Decline", ()),
    ("202 Accepted", ("100 Trying", "503 Service Unavailable")),
    ("202 Accepted", ()),
])
def test_where_refer_is_no_way_the_edge_calls_the_human_itself(desk, receiver, refer, notifies):
    edge, board, caller, call, _ = desk({DESK: {"says": HUMAN}}, refer, notifies)

    hand_over(edge, call)
    until(lambda: len(caller.frames_of(HUMAN)) > 10, 15, "the human's voice")

    assert len(board.refers) == 1
    hang_up(caller, receiver, call)
    assert receiver.kinds(call) == ["inbound_ringing", "answered", "transferred", "ended"]


@pytest.mark.parametrize("person, status", [
    ({"status": "486 Busy Here"}, 486),
    ({"status": "503 Service Unavailable"}, 503),
    ({"status": "404 Not Found"}, 404),
])
def test_the_next_of_the_list_has_the_caller(desk, receiver, person, status):
    edge, board, caller, call, _ = desk({DESK: person, SECOND: {"says": OTHER}})

    hand_over(edge, call, style="bridge", then=[{"number": SECOND}])
    until(lambda: len(caller.frames_of(OTHER)) > 10, 15, "the second's voice")

    assert board.called(DESK)[0].final.startswith(str(status))
    hang_up(caller, receiver, call)
    assert receiver.kinds(call) == ["inbound_ringing", "answered", "transferred", "ended"]


@pytest.mark.parametrize("on_failure, kinds", [
    ("return_to_ai", ["error"]),
    ("hang_up", ["error", "ended"]),
])
def test_when_nobody_comes_what_was_asked_for_happens(desk, receiver, on_failure, kinds):
    edge, _, caller, call, bot = desk({DESK: {"status": "486 Busy Here"}, SECOND: {"status": "480 Temporarily Unavailable"}})

    hand_over(edge, call, style="bridge", then=[{"number": SECOND}], on_failure=on_failure)
    until(lambda: receiver.kinds(call)[2:] == kinds, 15, "what was told")

    if on_failure == "hang_up":
        assert caller.ended.wait(5)
        return
    assert edge.call(call)["status"] == "answered" and len(bot.calls) == 1
    assert hang_up(caller, receiver, call)["edge"]["end_reason"] == "remote_hung_up"


def test_a_caller_who_hangs_up_while_the_human_rings_takes_the_ringing_along(desk, receiver):
    edge, board, caller, call, _ = desk({DESK: {"silent": True}})
    hand_over(edge, call, style="bridge")
    until(lambda: board.called(DESK), what="the ringing phone")
    until(lambda: "human's phone rings" in [step["what"] for step in edge.timeline(call)], what="the ringing")

    hang_up(caller, receiver, call)

    assert board.called(DESK)[0].ended.wait(5), "CANCEL"
    assert receiver.kinds(call) == ["inbound_ringing", "answered", "ended"]


def test_an_assisted_human_hears_the_engine_whisper_and_the_caller_does_not(desk, receiver):
    edge, board, caller, call, bot = desk({DESK: {"says": HUMAN}})
    hand_over(edge, call, style="bridge", assist_after=True)
    until(lambda: len(caller.frames_of(HUMAN)) > 10, what="the human's voice")
    human = board.called(DESK)[0]
    mixed = lambda frame: CALLER not in frame and 0x41 not in frame and is_sound(frame)
    until(lambda: any(mixed(frame) for _, frame in list(human.heard)), what="the whisper over the caller's voice")
    time.sleep(0.5)

    heard = [message for _, message in bot.calls[0].heard if isinstance(message, bytes)]
    tracks = {track: [frame for frame in heard if frame[1] == track] for track in (0, 1)}
    assert len(tracks[1]) > 20, "the human's track"
    assert all(CALLER in frame[16:] and HUMAN not in frame[16:19] for frame in tracks[0][-20:])
    assert all(HUMAN in frame[16:19] for frame in tracks[1][-20:])
    assert_in_order(caller.frames_of(HUMAN), 20)
    assert edge.call(call)["mode"] == "assist"
    hang_up(caller, receiver, call)


def test_an_assistant_that_stalls_for_a_minute_never_touches_the_call(desk, receiver):
    def stalls(call):
        call.wait_for("type", "start")
        call.say(type="accept")
        time.sleep(75)

    edge, board, caller, call, bot = desk({DESK: {"says": HUMAN}}, talk=stalls)
    hand_over(edge, call, style="bridge", assist_after=True)
    until(lambda: len(caller.frames_of(HUMAN)) > 10, what="the human's voice")
    human = board.called(DESK)[0]
    time.sleep(60)

    heard, said = caller.frames_of(HUMAN), human.frames_of(CALLER)
    assert_in_order(heard, 2990)
    assert_in_order(said, 2990)
    shown = edge.call(call)
    assert (shown["status"], shown["mode"]) == ("answered", "assist")
    gone = edge.ask("GET", f"/api/calls/{call}/timeline").body.decode()
    assert "engine gone" in gone, gone
    assert hang_up(caller, receiver, call)["edge"]["end_reason"] == "remote_hung_up"
    assert receiver.kinds(call) == ["inbound_ringing", "answered", "transferred", "ended"]


def test_a_call_goes_from_mode_to_mode_by_rest(desk, receiver):
    edge, board, caller, call, bot = desk({DESK: {"says": HUMAN}})

    def switch(mode, **more):
        return edge.ask("POST", f"/api/calls/{call}/mode", {"mode": mode, **more})

    assert switch("assist").json["code"] == "mode.no_human"
    assert switch("assist", to={"number": DESK}).status == 202
    until(lambda: edge.call(call)["mode"] == "assist", what="assist")
    assert switch("routing").status == 202
    assert bot.calls[0].over.wait(5)
    assert switch("ai_only").status == 202
    until(lambda: len(bot.calls) == 2, what="the engine again")
    assert board.called(DESK)[0].ended.wait(5)
    hang_up(caller, receiver, call)
    modes = [event["edge"]["mode"] for event in receiver.events(call) if event["edge"]["mode"]]
    assert [(mode["from"], mode["to"]) for mode in modes] == [
        ("ai_first", "assist"), ("assist", "routing"), ("routing", "ai_only")]


def test_a_routed_call_rings_everyone_and_no_engine_hears_of_it(desk, receiver):
    people = {DESK: {"after": 5}, SECOND: {"says": OTHER}}
    workflow = {"mode": "routing", "humans": [DESK, SECOND], "ring": "parallel"}
    edge, board, caller, call, bot = desk(people, workflow=workflow)

    until(lambda: len(caller.frames_of(OTHER)) > 10, what="the faster one")

    assert board.called(DESK)[0].ended.wait(5), "the slower one's phone stops"
    assert bot.calls == []
    board.called(SECOND)[0].hang_up()
    assert receiver.last_event(call)["kind"] == "ended"


def test_the_context_rides_along_to_the_human(desk, receiver):
    edge, board, caller, call, _ = desk({DESK: {"says": HUMAN}})
    hand_over(edge, call, style="bridge", context={"intent": "cancel", "merge_fields": {"first_name": "Sam"}})
    until(lambda: board.called(DESK), what="the human")

    invite = board.called(DESK)[0].invited
    assert invite["X-CallingEdge-Intent"] == "cancel"
    assert invite["X-CallingEdge-Call-Id"] == call
    uui = invite["User-to-User"].split(";")[0]
    assert json.loads(bytes.fromhex(uui))["merge_fields"] == {"first_name": "Sam"}
    until(lambda: "transferred" in receiver.kinds(call), what="the event")
    assert receiver.events(call)[-1]["context"]["intent"] == "cancel"
    hang_up(caller, receiver, call)


def test_a_far_end_that_refers_us_is_obeyed(desk, receiver):
    edge, board, caller, call, bot = desk({DESK: {"says": HUMAN}})

    caller.ask_to_transfer(f"sip:{DESK}@{board.address}")
    until(lambda: board.called(DESK) and board.called(DESK)[0].answered.is_set(), what="the other")
    other = board.called(DESK)[0]
    until(lambda: any(frame == b"\x41" * 160 for _, frame in list(other.heard)), what="the engine's voice")

    assert caller.ended.wait(5), "whoever referred is let go"
    assert len(bot.calls) == 1, "the engine noticed nothing"
    other.hang_up()
    assert receiver.last_event(call)["kind"] == "ended"


def test_hold_and_mute_from_outside(desk, receiver):
    edge, _, caller, call, bot = desk({})
    until(lambda: any(frame == b"\x41" * 160 for _, frame in list(caller.heard)), what="the engine's voice")

    assert edge.ask("POST", f"/api/calls/{call}/hold").status == 202
    assert edge.call(call)["status"] == "held"
    held = time.monotonic() + 0.1
    time.sleep(0.6)
    assert not any(at > held and frame == b"\x41" * 160 for at, frame in list(caller.heard))
    assert caller.longest_silence(since=held, until=time.monotonic()) < 1.0
    assert edge.ask("POST", f"/api/calls/{call}/hold").json["code"] == "call.held"
    assert edge.ask("POST", f"/api/calls/{call}/resume").status == 202

    assert edge.ask("POST", f"/api/calls/{call}/mute", {"who": "caller"}).status == 202
    muted = time.monotonic() + 0.1
    time.sleep(0.5)
    assert not any(at > muted and isinstance(message, bytes) for at, message in bot.calls[0].heard)
    assert edge.ask("POST", f"/api/calls/{call}/mute", {"muted": False}).status == 202
    hang_up(caller, receiver, call)


def test_both_sides_of_a_recorded_call_are_on_tape_and_a_pause_is_silence(desk, receiver, tmp_path):
    edge, board, caller, call, _ = desk({DESK: {"says": HUMAN}}, workflow={"mode": "routing", "humans": [DESK], "record": "stereo"})
    until(lambda: len(caller.frames_of(HUMAN)) > 100, what="the human's voice")
    assert edge.ask("POST", f"/api/calls/{call}/recording", {"paused": True}).status == 202
    time.sleep(1)
    hang_up(caller, receiver, call)
    url = receiver.events(call)[-1]["recording_url"]
    until(lambda: edge.calls(status="ended"), what="the end")
    time.sleep(0.5)

    told = edge.ask("GET", url)
    assert told.status == 200 and told.headers["Content-Type"] == "audio/wav"
    path = tmp_path / "told.wav"
    path.write_bytes(told.body)
    with wave.open(str(path)) as tape:
        assert (tape.getnchannels(), tape.getframerate(), tape.getsampwidth()) == (2, 8000, 2)
        samples = np.frombuffer(tape.readframes(tape.getnframes()), "<i2").reshape(-1, 2)
    for channel, who in enumerate((CALLER, HUMAN)):
        said = samples[:, channel]
        assert np.count_nonzero(np.abs(said.astype(int)) > 20000) > 8000, f"the voice of {who}"
        assert not np.any(said[-4000:]), "the pause"
