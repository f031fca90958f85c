"""edge.v1 over sockets that break: a hundred calls whose connection is cut in the middle, and nobody misses a word."""

import json
import random
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed

from lab import dialect
from lab.edge import usual
from lab.engine import Engine
from lab.scissors import Scissors
from lab.switchboard import Switchboard
from lab.waiting import until

AT_ONCE = 20
ROUNDS = 5
SECONDS = 4
FRAME = 160
NUMBER = "+18005551234"
# What a caller says before its call is agreed, or after it has hung up, is heard by nobody.
EDGES = 10
# What the engine says in one message, and how much it is ahead of what is heard.
PIECE_MS, AHEAD_MS = 100, 2000
REPLAY, DISCONTINUITY = 16, 1


class Session:
    """What an engine remembers of a call, whatever becomes of its sockets."""

    def __init__(self, start, cuts, chance):
        self.start, self.cuts = start, cuts
        self.says = chance.randbytes(8 * 1000 * SECONDS)
        self.frames, self.twice = {}, 0
        self.message, self.words = 0, []
        self.sent = 0
        self.answered = None
        self.resumes = []
        # Of two sockets the older one counts for nothing, whatever there is still to read from it.
        self.socket, self.lock = None, threading.Lock()

    def hear(self, data):
        fields, audio = dialect.read_frame(data)
        self.twice += fields["seq"] in self.frames
        self.frames[fields["seq"]] = fields, audio
        return fields

    def heard(self):
        audio = [{"track": 0, "seq": max(self.frames)}] if self.frames else []
        return {"audio": audio, "messages": self.message}

    def next_piece(self):
        """The next of what it says, when it is time for it."""
        spoken = self.sent * PIECE_MS
        if self.answered is None or spoken >= 1000 * SECONDS:
            return None
        if spoken > (time.monotonic() - self.answered) * 1000 + AHEAD_MS:
            return None
        piece = self.says[8 * spoken:8 * (spoken + PIECE_MS)]
        frame = dialect.HEADER.pack(1, 2, 0, dialect.CODECS["pcmu"], self.sent, 0, 1) + piece
        self.sent += 1
        return frame


class Bot:
    """An engine that can resume, behind scissors."""

    def __init__(self, seed, cuts=1):
        self.chance, self.sessions, self.lock = random.Random(seed), {}, threading.Lock()
        self.engine = Engine(self.talk, "edge.v1")
        self.scissors = Scissors(self.engine.port)
        self.cuts, self.troubles = cuts, []

    def talk(self, call):
        try:
            self.take(call)
        except AssertionError as trouble:
            self.troubles.append(trouble)
            raise

    def take(self, call):
        first = call.next(10)
        dialect.check_message(json.dumps(first), dialect.TO_ENGINE)
        if first["type"] == "start":
            with self.lock:
                moments = sorted(self.chance.uniform(0.2, SECONDS - 0.8) for _ in range(self.cuts))
                session = Session(first, moments, self.chance)
                self.sessions[first["resume"]["token"]] = session
            session.socket = call
            call.say(type="accept", resume=True)
        else:
            assert first["type"] == "resume"
            session = self.sessions[first["token"]]
            with session.lock:
                session.socket = call
            session.resumes.append(first)
            got = first["heard"]["audio"]
            session.sent = got[0]["seq"] + 1 if got else 0
            call.say(type="accept", heard=session.heard())
        self.converse(call, session)

    def converse(self, call, session):
        port = call.socket.remote_address[1]
        while True:
            if session.cuts and session.answered and time.monotonic() - session.answered >= session.cuts[0]:
                session.cuts.pop(0)
                self.scissors.cut(port)
            while piece := session.next_piece():
                call.socket.send(piece)
            try:
                message = call.socket.recv(timeout=0.01)
            except TimeoutError:
                continue
            with session.lock:
                if session.socket is not call:
                    return
                self.hear(session, message)

    def hear(self, session, message):
        if isinstance(message, bytes):
            return self.check(session, session.hear(message))
        word = json.loads(message)
        dialect.check_message(message, dialect.TO_ENGINE)
        assert word["seq"] == session.message + 1, (word, session.message)
        session.message = word["seq"]
        session.words.append(word)
        if word["type"] == "answered":
            session.answered = time.monotonic()

    @staticmethod
    def check(session, fields):
        """What was kept while there was no socket is flagged; what came before is not."""
        if not session.resumes:
            assert fields["flags"] == 0, fields
        elif kept := session.resumes[-1]["kept"]:
            assert fields["seq"] > kept[0]["to_seq"] or fields["flags"] == REPLAY, (fields, kept)
        assert not fields["flags"] & DISCONTINUITY

    def end(self):
        self.scissors.end()
        self.engine.end()


def configured(url, receiver, **more):
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["bot"] = {"url": url, "dialect": "edge.v1", **more}
    config["providers"]["sip-main"] |= {"engine": "bot", "probe_interval_sec": 0}
    return config


def counted(edge, name):
    """Over all workers."""
    return sum(value for key, value in edge.metrics().items() if key.partition("{")[0] == name)


@pytest.mark.parametrize("cuts", [1, 5])
def test_a_hundred_calls_whose_socket_is_cut_lose_nothing_and_none_ends(start_edge, receiver, cuts):
    bot = Bot(seed=4711, cuts=cuts)
    edge = start_edge(configured(bot.scissors.url, receiver))
    rounds = ROUNDS if cuts == 1 else 1

    for _ in range(rounds):
        before = set(bot.sessions)
        lines = speak(edge, AT_ONCE, SECONDS)
        sessions = [session for token, session in bot.sessions.items() if token not in before]
        until(lambda: bot.troubles or all(session.words[-1]["type"] == "stop" for session in sessions), 5, "the end of all")
        assert not bot.troubles
        check(lines, sessions)

    calls = rounds * AT_ONCE
    ended = until(lambda: (listed := edge.calls(limit=200)) and len(listed) == calls
                  and all(call["status"] == "ended" for call in listed) and listed, 10, "the ended calls")
    assert {call["end_reason"] for call in ended} == {"remote_hung_up"}
    resumes = sum(len(session.resumes) for session in bot.sessions.values())
    assert calls * cuts * 0.9 <= resumes <= calls * cuts
    # A connection that is cut before the engine's answer has come is none that was resumed.
    least = resumes if cuts == 1 else 0.8 * resumes
    until(lambda: least <= counted(edge, "callingedge_engines_resumed_total") <= resumes, 5, "the count of resumes")
    assert counted(edge, "callingedge_engines_not_resumed_total") == 0
    assert counted(edge, "callingedge_voice_replay_lost_total") == 0
    until(lambda: counted(edge, "callingedge_voice_frames_replayed_total") > 0, 5, "the count of frames")
    told = [(line["what"], line.get("detail")) for line in edge.timeline(ended[0]["call_id"])]
    assert "engine lost" in dict(told) and dict(told)["engine resumed"].startswith("after "), told
    bot.end()


def speak(edge, calls, seconds):
    """So many calls at once, each by a voice of its own, hung up by the callers."""
    board = Switchboard()
    lines = [board.call(edge.sip["udp"], NUMBER, says=voice) for voice in range(1, calls + 1)]
    for line in lines:
        assert line.answered.wait(10), line.final
    time.sleep(seconds)
    for line in lines:
        line.hang_up()
    until(lambda: not edge.calls(status="answered"), 10, "the end of the calls")
    board.end()
    return lines


def check(lines, sessions):
    assert len(sessions) == len(lines)
    by_voice = {session.frames[0][1][0]: session for session in sessions}
    for line in lines:
        session = by_voice[line.says]
        frames = [session.frames[seq] for seq in sorted(session.frames)]
        assert [fields["seq"] for fields, _ in frames] == list(range(len(frames)))
        first = next(number for number in range(EDGES) if line.frame(number) == frames[0][1])
        assert [audio for _, audio in frames] == [line.frame(first + number) for number in range(len(frames))]
        assert first + len(frames) >= line.sent - EDGES, "all that was said, once"
        assert session.twice == 0
        heard = b"".join(frame for _, frame in line.heard)
        at = heard.find(session.says[:FRAME])
        whole = session.says[:len(heard) - at]
        assert at >= 0 and len(whole) > len(session.says) * 0.8
        assert heard[at:at + len(whole)] == whole, "the engine without a gap"


def test_an_engine_that_stays_away_is_replaced_and_the_next_one_knows_for_whom(start_edge, receiver):
    taken = []

    def first(call):
        if call.next(10)["type"] == "start":
            call.say(type="accept", resume=True)
            call.wait_for("type", "answered")
        # Whoever calls again is not known here.
        call.say(type="reject", sip_code=481) if call.heard[0][1]["type"] == "resume" else call.socket.close(1012)

    def second(call):
        taken.append(call.wait_for("type", "start"))
        call.say(type="accept")
        call.listen()

    engines = Engine(first, "edge.v1"), Engine(second, "edge.v1")
    config = configured(engines[0].url, receiver, fallback="second")
    config["engines"]["second"] = {"url": engines[1].url, "dialect": "edge.v1"}
    edge = start_edge(config)

    speak(edge, 1, 2)

    assert [start["parameters"]["fallback_for"] for start in taken] == ["bot"]
    assert receiver.last_event()["edge"]["end_reason"] == "remote_hung_up"
    told = [line["what"] for line in edge.timeline(edge.calls(limit=1)[0]["call_id"])]
    assert told.index("engine lost") < told.index("engine not resumed") < told.index("engine gone")
    for engine in engines:
        engine.end()
