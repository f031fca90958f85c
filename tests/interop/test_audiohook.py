"""Genesys AudioHook: a platform opens sessions to the edge, and engines listen to its conversations or speak in them."""

import ssl
import time
import uuid

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lab import audiohook, dialect
from lab.audiohook import EXTERNAL, L16, STEREO, Session
from lab.edge import usual
from lab.engine import Engine
from lab.waiting import until

SILENCE = bytes([0xFF])


def noise(seconds, seed):
    """PCMU that no two places of look alike; without 0x7F, which is the other zero."""
    samples = np.random.default_rng(seed).integers(0, 255, int(8000 * seconds), dtype=np.uint8)
    return bytes(np.where(samples == 0x7F, 0xFF, samples).astype(np.uint8))


def tracks(call):
    """What the engine has heard: by track, the audio and the media time that it begins at."""
    heard = {}
    for _, message in list(call.heard):
        if isinstance(message, bytes):
            kind, track, flags, codec, seq, media_time, at = dialect.HEADER.unpack_from(message)
            heard.setdefault(track, []).append((media_time, message[dialect.HEADER.size:]))
    return {track: b"".join(audio for _, audio in frames) for track, frames in heard.items()}, {
        track: [at for at, _ in frames] for track, frames in heard.items()}


def listener(call):
    call.wait_for("type", "start")
    call.say(type="accept", id="a1")
    call.listen()


@pytest.fixture
def hooked(start_edge, receiver):
    """`hooked(talk)`: an edge that Genesys may open sessions to, and its engine; a session of it."""
    ends = []

    def start(talk, http=None, **provider):
        engine = Engine(talk, "edge.v1")
        ends.append(engine)
        config = usual()
        config["tenants"]["acme"]["webhook_url"] = receiver.url()
        config["engines"]["bot"] = {"url": engine.url, "dialect": "edge.v1"}
        config["http"] |= http or {}
        config["providers"]["genesys"] = {
            "kind": "audiohook", "tenant": "acme", "engine": "bot", "organization": audiohook.ORGANIZATION,
            "api_key": {"env": "HOOK_KEY"}, "client_secret": {"env": "HOOK_SECRET"}, **provider}
        edge = start_edge(config, env={"HOOK_KEY": audiohook.KEY, "HOOK_SECRET": audiohook.SECRET})
        authority = edge.http.removeprefix("http://")

        def session(**more):
            ends.append(Session(authority, **more))
            return ends[-1]

        return edge, engine, session

    yield start
    for end in ends:
        end.end()


def test_an_engine_hears_caller_and_agent_sample_by_sample_and_beside_each_other(hooked, receiver):
    edge, engine, session = hooked(listener)
    caller, silent = noise(4, 1), SILENCE * 32000

    platform = session()
    platform.open(L16, EXTERNAL, STEREO, inputVariables={"intent": "refund", "order": "A-7"})
    opened = platform.wait_for("opened")
    platform.say("ping")
    platform.wait_for("pong")
    platform.stereo(caller, silent)
    call = engine.calls[0]
    until(lambda: len(tracks(call)[0].get(1, b"")) >= len(silent), what="all of the audio")
    running = edge.calls()[0]
    platform.say("dtmf", digit="5")
    platform.say("paused")
    held = until(lambda: (now := edge.calls()[0])["status"] == "held" and now, what="the pause")
    platform.say("resumed", start="PT4S", discarded="PT1S")
    platform.stereo(noise(1, 2), silent[:8000])
    until(lambda: len(tracks(call)[0][1]) >= 40000, what="what followed the pause")
    ended = platform.close()
    last = receiver.last_event(running["call_id"])
    kept = edge.call(running["call_id"], "genesys")

    assert opened["parameters"] == {"media": [STEREO]}
    heard, times = tracks(call)
    assert heard[0][:32000] == caller and heard[0][32000:] == noise(1, 2)
    assert heard[1] == SILENCE * 40000, "a silent track stays silent"
    assert times[0] == times[1] and times[0][:200] == [160 * at for at in range(200)]
    assert times[0][200] == 160 * 200 + 8000, "the second that the platform threw away"
    start = call.messages("type", "start")[0][1]
    assert (start["from"], start["to"], start["mode"]) == ("+15550100", "+15550199", "assist")
    assert start["context"]["intent"] == "refund" and start["context"]["merge_fields"]["order"] == "A-7"
    assert [message["digit"] for _, message in call.messages("type", "dtmf")] == ["5"]
    assert (running["direction"], running["mode"], running["status"]) == ("inbound", "assist", "answered")
    assert running["provider_call_id"] == platform.conversation and held["status"] == "held"
    assert ended["parameters"]["outputVariables"]["end_reason"] == "remote_hung_up"
    assert receiver.kinds(running["call_id"]) == ["inbound_ringing", "answered", "ended"]
    assert last["edge"]["seq"] == 3 and last["raw"]["detail"] == "end"
    assert not [message for message in platform.heard if isinstance(message, bytes)], "we only listen"
    assert kept["quality"]["mos"] is None and [leg["frames_up"] for leg in kept["legs"]] == [250, 250]


def test_a_bot_speaks_in_packets_of_200_ms_is_interrupted_and_hands_over_to_the_flow(hooked, receiver):
    words = noise(3, 3)

    def bot(call):
        call.wait_for("type", "start")
        call.say(type="accept", id="a1")
        call.wait_for("type", "answered")
        call.socket.send(dialect.HEADER.pack(1, 2, 0, 0, 0, 0, 1) + words)
        call.wait_for("type", "dtmf")
        call.say(type="clear", id="c1")
        call.wait_for("type", "cleared")
        call.say(type="context", id="x1", context={"merge_fields": {"outcome": "agent"}})
        call.say(type="hang_up", id="h1", reason="done")
        call.listen()

    edge, engine, session = hooked(bot)
    platform = session()
    platform.open(EXTERNAL)
    platform.wait_for("opened")
    began = time.monotonic()
    platform.socket.send(SILENCE * 1600)
    while sum(len(message) for message in platform.heard if isinstance(message, bytes)) < 8000:
        platform.next()
    took = time.monotonic() - began
    platform.say("dtmf", digit="1")
    disconnect = platform.wait_for("disconnect")
    platform.say("close", reason="disconnect")
    closed = platform.wait_for("closed")
    call = edge.calls()[0]["call_id"]
    receiver.last_event(call)

    said = [message for message in platform.heard if isinstance(message, bytes)]
    assert {len(packet) for packet in said[:5]} == {1600}
    assert b"".join(said) == words[:sum(map(len, said))], "what was cut off is not said"
    assert took > 0.75, "a second of speech takes a second, the first packet is not waited for"
    assert platform.texts("event")[0]["parameters"] == {"entities": [{"type": "barge_in", "data": {}}]}
    assert disconnect["parameters"]["reason"] == "completed"
    assert disconnect["parameters"]["outputVariables"]["outcome"] == "agent"
    assert disconnect["parameters"]["outputVariables"]["end_reason"] == "engine_hung_up"
    assert closed["parameters"] == {}
    assert receiver.kinds(call) == ["inbound_ringing", "answered", "ended"]


def test_a_session_goes_on_over_another_connection_with_the_same_engine(hooked, receiver):
    edge, engine, session = hooked(listener)
    said = [noise(1, seed) for seed in (6, 7, 8, 9)]
    first = session()
    first.open(STEREO)
    first.wait_for("opened")
    first.stereo(*said[:2])
    until(lambda: len(tracks(engine.calls[0])[0].get(1, b"")) >= 8000, what="the first second")
    first.close("reconnect")

    second = session()
    second.open(STEREO, conversation=first.conversation,
                continuedSessions=[{"id": first.id, "serverseq": first.serverseq, "clientseq": first.seq}])
    second.wait_for("opened")
    second.stereo(*said[2:])
    until(lambda: len(tracks(engine.calls[0])[0][1]) >= 16000, what="the second")
    second.close()
    last = receiver.last_event()

    heard, _ = tracks(engine.calls[0])
    assert heard == {0: said[0] + said[2], 1: said[1] + said[3]}
    assert len(engine.calls) == 1 and receiver.kinds() == ["inbound_ringing", "answered", "ended"]
    assert last["edge"]["end_reason"] == "remote_hung_up"
    assert len(engine.calls[0].messages("type", "hold")) == 1, "and a hold between"


def test_a_session_over_tls_is_like_any_other(hooked, certificates, receiver):
    own = {"tls_certificate": certificates.path("edge.pem"), "tls_key": {"file": certificates.path("edge.key")}}
    edge, engine, session = hooked(listener, http=own)
    context = ssl.create_default_context(cafile=certificates.path("authority.pem"))
    said = [noise(2, 4), noise(2, 5)]

    platform = session(scheme="wss", ssl=context)
    platform.open(STEREO)
    platform.wait_for("opened")
    platform.stereo(*said)
    until(lambda: len(tracks(engine.calls[0])[0].get(1, b"")) >= 16000, what="all of the audio")
    platform.close()
    receiver.last_event()

    heard, _ = tracks(engine.calls[0])
    assert [heard[0], heard[1]] == said
    assert receiver.kinds() == ["inbound_ringing", "answered", "ended"]


def test_who_has_not_signed_right_and_now_is_refused_late_and_who_asks_only_is_answered(hooked):
    edge, engine, session = hooked(listener)
    nonce = "a" * 24
    probe = session(nonce=nonce)
    probe.open(STEREO, conversation=audiohook.NOBODY)
    opened = probe.wait_for("opened")
    closed = probe.close()

    refusals = [dict(nonce=nonce), dict(secret="AAAAAAAAAAAAAAAAAAAAAA=="), dict(key="other"), dict(age=20), dict(age=-60),
                dict(nonce="short"), dict(organization=str(uuid.uuid4())), dict(target="/audiohook/nobody"),
                dict(target="/audiohook/sip-main")]
    for refusal in refusals:
        began = time.monotonic()
        with pytest.raises(InvalidStatus) as refused:
            session(**refusal)
        assert refused.value.response.status_code == 401, refusal
        assert time.monotonic() - began >= 0.5, refusal

    assert opened["parameters"]["media"] == [STEREO] and closed["parameters"] == {}
    assert edge.calls() == [] and engine.calls == []
    metrics = edge.metrics()
    assert metrics['callingedge_audiohook_sessions_total{result="refused"}'] == len(refusals)
    assert metrics['callingedge_audiohook_sessions_total{result="opened"}'] == 1
    assert edge.ask("GET", "/audiohook/genesys").status == 401


def test_a_session_that_cannot_be_one_ends_with_its_reason_and_every_call_once(hooked, receiver):
    edge, engine, session = hooked(listener, max_calls=1)

    def gone(platform):
        with pytest.raises(ConnectionClosed):
            while True:
                platform.next(8)
        return [message["parameters"]["info"][:3] for message in platform.texts("disconnect")]

    wrong = []
    for media in ([L16], []):
        wrong.append(session())
        wrong[-1].open(*media)
    stranger = session()
    stranger.id = str(uuid.uuid4())
    stranger.open(STEREO)
    for platform in wrong:
        platform.wait_for("disconnect")
        platform.end()
    assert [gone(platform) for platform in wrong] == [["415"], ["415"]]
    with pytest.raises((ConnectionClosed, AssertionError)):
        stranger.wait_for("opened")

    talking = session()
    talking.open(STEREO)
    talking.wait_for("opened")
    second = session()
    second.open(STEREO)
    full = second.wait_for("disconnect")
    second.say("close", reason="disconnect")
    second.wait_for("closed")
    talking.socket.send("x" * 70_000)
    assert gone(talking) == ["413"]
    first = edge.calls()[0]["call_id"]
    until(lambda: edge.calls()[0]["status"] == "ended", what="the end of the call")
    lost = session()
    lost.open(STEREO)
    lost.wait_for("opened")
    lost.socket.socket.shutdown(2)
    second_call = until(lambda: (calls := edge.calls())[0]["call_id"] != first and calls[0]["status"] == "ended"
                        and calls[0], what="the end of the lost one")

    assert full["parameters"]["info"].startswith("429")
    assert second_call["end_reason"] == "unreachable"
    for call in (first, second_call["call_id"]):
        receiver.last_event(call)
        assert receiver.kinds(call) == ["inbound_ringing", "answered", "ended"]
    assert edge.metrics()["callingedge_calls"] == 0
