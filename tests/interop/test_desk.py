"""A caller asks a bot for a human, speaks with one, and has the bot again: two baresips and Pipecat, judged by what each has heard.

    caller: baresip ==RTP==> edge --Twilio Media Streams--> Pipecat: hears the caller ask, orders the transfer by REST
                              |
                              +====RTP====> human: baresip; hears an announcement alone, then the caller

Four voices, no two alike: everyone says one recording again and again.
"""

import json
import socket

import numpy as np
import pytest

from lab import audio
from lab.edge import usual
from lab.pipecat import Runner
from lab.waiting import until

NUMBER = "+18005551234"
WHISPER = audio.FIXTURES / "announcement.wav"

# How alike a piece of half a second is that is heard, and one that is not: two of these voices come to 0.65 at most.
HEARD, NOT_HEARD = 0.95, 0.75


def voices():
    greeting, announcement = audio.speech("greeting"), audio.speech("announcement")
    # Played backwards it is as loud and as rich, and another's.
    return {"caller": greeting, "human": greeting[::-1].copy(), "bot": announcement[::-1].copy(), "whisper": announcement}


VOICES = voices()


def again_and_again(samples, seconds=90):
    once = np.concatenate([audio.silence(0.3), samples])
    return np.tile(once, int(seconds * audio.RATE / len(once)) + 1)


@pytest.fixture
def caller(new_phone):
    return new_phone(again_and_again(VOICES["caller"]))


@pytest.fixture
def human(new_phone):
    return new_phone(again_and_again(VOICES["human"]), user="desk")


@pytest.fixture
def desk(start_edge, receiver, human, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        api = f"127.0.0.1:{free.getsockname()[1]}"
    audio.write(tmp_path / "sentence.wav", VOICES["bot"])
    token = tmp_path / "token"
    about = {"api": f"http://{api}", "token_file": str(token), "human": f"sip:desk@{human.address}",
             "sentence": str(tmp_path / "sentence.wav"), "heard": str(tmp_path)}
    runner = Runner(tmp_path / "pipecat", "desk_bot.py", {"DESK": json.dumps(about)})
    config = usual()
    config["http"]["listen"] = api
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["announcements"] = {"briefing": str(WHISPER)}
    config["engines"]["bot"] = {"url": runner.url, "dialect": "twilio"}
    config["providers"]["sip-main"] |= {"target": f"sip:{human.address}", "engine": "bot"}
    edge = start_edge(config)
    token.write_text(edge.token)
    yield edge, runner
    runner.end()


def pieces(voice, length=4000):
    """Half seconds of it that are audible."""
    cut = [voice[at:at + length] for at in range(0, len(voice) - length, length)]
    return [piece for piece in cut if np.abs(piece).max() > 2000]


def where(voice, heard):
    """The second at which each audible piece of `voice` is heard, where it is."""
    found = (audio.find(piece, heard) for piece in pieces(VOICES[voice]))
    return [at / audio.RATE for score, at in found if score > HEARD]


def is_heard(voice, heard):
    return len(where(voice, heard)) >= len(pieces(VOICES[voice])) - 2


def assert_never(voice, heard):
    best = max(audio.find(piece, heard)[0] for piece in pieces(VOICES[voice]))
    assert best < NOT_HEARD, f"{voice} was heard: {best:.2f}"


def test_a_caller_is_handed_to_a_human_and_taken_back_and_everyone_hears_whom_they_should(desk, receiver, caller, human, tmp_path):
    edge, runner = desk
    caller.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
    call = until(lambda: edge.calls(status="answered"), what="the answer")[0]["call_id"]

    asked = runner.wait_for("asks", call)[0]
    assert asked["status"] == 202
    human.wait_for("CALL_ESTABLISHED", within=15)
    until(lambda: "transferred" in receiver.kinds(call), 15, "that the human has the caller")
    assert runner.wait_for("disconnected", call)
    until(lambda: is_heard("human", caller.heard()), 20, "the human's voice at the caller", every=0.5)
    until(lambda: is_heard("caller", human.heard()), 20, "the caller's voice at the human", every=0.5)
    assert edge.call(call)["mode"] == "routing"

    human.hang_up()
    runner.wait_for("call", call, count=2)
    until(lambda: edge.call(call)["mode"] == "ai_first", what="the bot's turn")
    spoken_before = len(caller.heard())
    until(lambda: len(where("bot", caller.heard()[spoken_before:])) >= 3, 20, "the bot's voice again", every=0.5)
    caller.hang_up()

    assert receiver.last_event(call)["edge"]["end_reason"] == "remote_hung_up"
    assert receiver.kinds(call) == ["inbound_ringing", "answered", "transferred", "transferred", "ended"]
    changes = [event["edge"]["mode"] for event in receiver.events(call) if event["edge"]["mode"]]
    assert [(change["to"], change["reason"]) for change in changes] == [
        ("routing", "asked for a human"), ("ai_first", "human_hung_up")]
    judge_human(human.heard())
    judge_caller(caller.heard())
    runner.wait_for("disconnected", call, count=2)
    judge_bot(tmp_path)


def judge_human(heard):
    """First the announcement, whole and alone; then the caller; never the bot."""
    whisper, caller = where("whisper", heard), where("caller", heard)
    assert whisper == sorted(whisper) and len(whisper) >= len(pieces(VOICES["whisper"])) - 1, whisper
    assert min(caller) > max(whisper), "the caller came into the announcement"
    assert_never("bot", heard)
    assert_never("human", heard)


def judge_caller(heard):
    """The bot, then the human, then the bot; never the announcement; never two seconds of silence."""
    human = where("human", heard)
    assert_never("whisper", heard)
    before, after = heard[:int(min(human) * audio.RATE)], heard[int((max(human) + 0.5) * audio.RATE):]
    assert len(where("bot", before)) >= 2 and len(where("bot", after)) >= 2
    places = np.flatnonzero(np.abs(heard) > 200)
    longest = np.diff(places).max() / audio.RATE
    assert longest < 2, f"{longest:.2f} s of silence"


def judge_bot(directory):
    """The caller both times; never human, announcement or itself."""
    for visit in (1, 2):
        heard = audio.read(directory / f"bot-{visit}.wav")
        assert len(where("caller", heard)) >= 2, visit
        for other in ("human", "whisper", "bot"):
            assert_never(other, heard)
