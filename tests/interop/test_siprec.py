"""Recording sessions (SIPREC): a scripted client sends both voices of somebody else's call, and the engine hears them."""

import statistics
import time

import pytest

from lab import dialect
from lab.edge import usual
from lab.engine import Engine
from lab.recorder import Recorder, metadata
from lab.switchboard import number_of
from lab.waiting import until

CALLER, AGENT = 3, 5
# The agent's line stands first; the caller is told of first.
WHO = [("C", "sip:+15557001@pbx.example", "Carla", "two"), ("A", "sip:agent@pbx.example", "Ann", "one")]


def listens(call):
    """Takes every call, says something that nobody is to hear, and listens."""
    call.wait_for("type", "start")
    call.say(type="accept")
    call.wait_for("type", "answered")
    call.socket.send(bytes([1, 2, 0, 0]) + bytes(8) + (1).to_bytes(4, "big") + b"\x41" * 1600)
    call.listen()


@pytest.fixture
def record(start_edge, receiver):
    """`record(voices, who, **trunk)`: an edge with an engine, and a client that has begun to record."""
    ends = []

    def begin(voices, who=None, **trunk):
        bot = Engine(listens, "edge.v1")
        client = Recorder(voices)
        ends.extend([bot, client])
        config = usual()
        config["tenants"]["acme"]["webhook_url"] = receiver.url()
        config["engines"]["bot"] = {"url": bot.url, "dialect": "edge.v1"}
        config["providers"]["sip-main"] |= {"engine": "bot", "siprec": True, **trunk}
        edge = start_edge(config)
        return edge, bot, client, client.invite(edge.sip["udp"], who)

    yield begin
    for one in ends:
        one.end()


GUESSED = 2


def frames(bot, track):
    """Header and audio of what the engine has heard on a track; not what the edge guessed where a packet came late, or into a hold."""
    heard = [dialect.read_frame(message) for _, message in list(bot.calls[0].heard) if isinstance(message, bytes)]
    return [(header, audio) for header, audio in heard if header["track"] == track and not header["flags"] & GUESSED]


def numbers(bot, track, who):
    return [number_of(audio, who) for _, audio in frames(bot, track)]


def of_call(edge):
    return until(lambda: edge.calls(), what="the call")[0]["call_id"]


def test_the_engine_hears_both_voices_bit_exact_and_in_step_and_nobody_hears_it(record, receiver):
    edge, bot, client, dialog = record({"one": AGENT, "two": CALLER}, metadata(WHO))
    answer = dialog.answered()

    assert answer.first.startswith("SIP/2.0 200") and "+sip.srs" in answer["Contact"], answer.first
    assert answer.body.count("a=recvonly") == 2
    until(lambda: bot.calls and len(frames(bot, 0)) > 150 and len(frames(bot, 1)) > 150, 20, "both voices")
    call = of_call(edge)
    for track, who in ((0, CALLER), (1, AGENT)):
        heard = numbers(bot, track, who)
        assert None not in heard, f"track {track} has something else: a leak, or not every bit"
        assert heard == sorted(set(heard)) and len(heard) >= 0.95 * (heard[-1] - heard[0]), f"every frame once, in order: {heard}"
    at = [{number_of(audio, who): header["capture_ms"] for header, audio in frames(bot, track)}
          for track, who in ((0, CALLER), (1, AGENT))]
    apart = [abs(at[0][number] - at[1][number]) for number in at[0].keys() & at[1].keys()]
    assert len(apart) > 100 and statistics.median(apart) <= 20, apart
    start = bot.calls[0].messages("type", "start")[0][1]
    assert (start["mode"], start["from"], start["to"]) == ("assist", "+15557001", "agent")
    told = start["context"]["merge_fields"]["siprec"]
    assert told["session_id"] == "S1"
    assert [(one["label"], one["name"]) for one in told["tracks"]] == [("two", "Carla"), ("one", "Ann")]
    assert not [packet for packet in client.received if packet[1] & 0x7F == 0], "nobody is spoken to"
    assert until(lambda: bot.calls[0].messages("type", "error"), what="the refusal")[0][1]["code"] == "playout.closed"
    shown = edge.call(call)
    assert (shown["mode"], shown["direction"], [leg["role"] for leg in shown["legs"]]) == ("assist", "inbound", ["caller", "human"])
    assert edge.ask("POST", f"/api/calls/{call}/hold").json["code"] == "call.listen_only"
    dialog.hang_up()
    assert receiver.last_event(call)["edge"]["end_reason"] == "remote_hung_up"
    assert receiver.kinds(call) == ["inbound_ringing", "answered", "ended"]
    assert receiver.events(call)[-1]["context"]["merge_fields"]["siprec"]["session_id"] == "S1"


def test_a_silent_voice_stays_silent_and_a_held_one_comes_back(record, receiver):
    edge, bot, client, dialog = record({"one": CALLER, "two": None})
    dialog.answered()
    until(lambda: bot.calls and len(frames(bot, 0)) > 100, 20, "the caller")
    assert frames(bot, 1) == [] and None not in numbers(bot, 0, CALLER)
    call = of_call(edge)
    until(lambda: edge.call(call)["status"] == "answered", what="the answer")

    dialog.offer(client.sdp({"one": "inactive", "two": "inactive"}, 2))
    held = dialog.answered()
    client.silent = {"one"}
    assert held.body.count("a=inactive") == 2
    until(lambda: edge.call(call)["status"] == "held", what="the hold")
    client.voices["two"] = AGENT
    client.silent = set()
    dialog.offer(client.sdp(version=3), metadata(WHO))
    dialog.answered()
    until(lambda: len(frames(bot, 1)) > 50, 20, "the other voice")

    assert edge.call(call)["status"] == "answered"
    assert None not in numbers(bot, 1, AGENT) and None not in numbers(bot, 0, CALLER)
    what = [one["what"] for one in edge.timeline(call)]
    assert "no recording metadata" in what and "recording metadata" in what and "line resumed" in what, what
    dialog.hang_up()
    assert receiver.last_event(call)["kind"] == "ended"


def test_news_come_by_update_and_the_other_half_of_the_client_takes_over(record, receiver):
    edge, bot, client, dialog = record({"one": AGENT, "two": CALLER}, metadata(WHO))
    dialog.answered()
    until(lambda: bot.calls and len(frames(bot, 0)) > 50, 20, "the caller")
    call = of_call(edge)

    dialog.offer(None, metadata([("A", "sip:boss@pbx.example", "Bea", "one")], "partial"), method="UPDATE")
    assert dialog.answered().first.startswith("SIP/2.0 200")
    told = until(lambda: bot.calls[0].messages("type", "context"), what="the news")[-1][1]
    assert told["context"]["merge_fields"]["siprec"]["tracks"][1]["name"] == "Bea"

    other = client.invite(edge.sip["udp"], metadata(WHO), dialog.replaces())
    assert other.answered().first.startswith("SIP/2.0 200")
    assert dialog.ended.wait(5), "the dialog that is replaced is over"
    before = len(frames(bot, 0))
    until(lambda: len(frames(bot, 0)) > before + 50 and len(frames(bot, 1)) > 100, 20, "both voices again")
    assert None not in numbers(bot, 0, CALLER) and None not in numbers(bot, 1, AGENT)
    assert len(edge.calls()) == 1 and len(bot.calls) == 1
    other.hang_up()
    assert receiver.last_event(call)["kind"] == "ended"
    assert receiver.kinds(call) == ["inbound_ringing", "answered", "ended"]


def test_a_trunk_that_takes_no_recordings_says_so(record):
    _, bot, _, dialog = record({"one": AGENT, "two": CALLER}, metadata(WHO), siprec=False)

    refused = dialog.answered()

    assert refused.first.startswith("SIP/2.0 420") and refused["Unsupported"] == "siprec"
    time.sleep(0.2)
    assert bot.calls == []
