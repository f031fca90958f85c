"""Nothing is missing when a call changes hands: everyone speaks without a pause, and every frame carries its number.

What a listener gets is one stream of packets, 20 ms each, so what is missing at a switch is counted in packets: those between
the last of whoever was heard before and the first of whoever is heard now that are nobody's. A speaker's missing frames are the
numbers that nobody heard.
"""

import pytest

from lab import engine
from lab.edge import usual
from lab.switchboard import Switchboard, number_of
from lab.waiting import until

CALLER, HUMAN, ENGINE = 3, 5, 0x41
DESK = "+16505550100"

# One packet: 20 ms.
MISSING = 1
# Whoever answers has just begun to speak: their first packet is under way for up to 20 ms when the engine falls silent.
BEGINS = 1


def speaks(call):
    """An edge.v1 engine that takes every call and talks to its caller without end, and anew in another mode; it whispers nothing."""
    segment, mode = 0, None
    while True:
        message = call.next(60)
        kind = message.get("type") if isinstance(message, dict) else None
        mode = message["mode"] if kind in ("start", "mode") else mode
        if kind == "start":
            call.say(type="accept")
        elif kind in ("answered", "mode") and mode != "assist":
            segment += 1
            header = bytes([1, 2, 0, 0]) + bytes(8) + segment.to_bytes(4, "big")
            for _ in range(60):
                call.socket.send(header + bytes([ENGINE]) * 8000)
        elif kind == "stop":
            return


class Desk:
    """An edge, a caller who speaks with the engine, and a human who can be called."""

    def __init__(self, start_edge, receiver):
        self.receiver = receiver
        # How many frames each had said when a switch was ordered.
        self.switched = []
        self.board = Switchboard({DESK: {"says": HUMAN}})
        self.bot = engine.Engine(speaks, "edge.v1")
        config = usual()
        config["tenants"]["acme"]["webhook_url"] = receiver.url()
        config["engines"]["bot"] = {"url": self.bot.url, "dialect": "edge.v1"}
        config["providers"]["sip-main"] |= {
            "target": f"sip:{self.board.address}", "probe_interval_sec": 0, "engine": "bot", "mode": "ai_first"}
        self.edge = start_edge(config)
        self.caller = self.board.call(self.edge.sip["udp"], "+18005551234", CALLER)
        assert self.caller.answered.wait(10), self.caller.final
        self.call = until(lambda: self.edge.calls(status="answered"), what="the call")[0]["call_id"]
        self.until_heard(self.caller, ENGINE)

    @property
    def human(self):
        return self.board.called(DESK)[-1]

    def switch(self, mode, **more):
        before = len(self.modes())
        self.switched.append({CALLER: self.caller.sent, HUMAN: self.board.called(DESK)[-1].sent if self.board.called(DESK) else 0})
        switched = self.edge.ask("POST", f"/api/calls/{self.call}/mode", {"mode": mode, **more})
        assert switched.status == 202, switched.body
        until(lambda: len(self.modes()) > before, what=mode)

    def modes(self):
        return [event for event in self.receiver.events(self.call) if event["edge"]["mode"]]

    def until_heard(self, listener, speaker, frames=50):
        """So many packets of `speaker` in a row."""
        last = lambda: [speaker_of(frame) for _, frame in list(listener.heard)[-frames:]]
        until(lambda: last() == [speaker] * frames, 10, f"{speaker} at {listener.number}")

    def until_more(self, listener, speaker, frames=50):
        """So many frames beyond those that were heard until now."""
        before = len(listener.frames_of(speaker))
        until(lambda: len(listener.frames_of(speaker)) >= before + frames, 10, f"{speaker} at {listener.number}")

    def end(self):
        self.board.end()
        self.bot.end()


@pytest.fixture
def desk(start_edge, receiver):
    desk = Desk(start_edge, receiver)
    yield desk
    desk.end()


def speaker_of(frame):
    """Whose voice it is alone; nothing where it is nobody's or several add up."""
    if frame == bytes([ENGINE]) * 160:
        return ENGINE
    return next((who for who in (CALLER, HUMAN) if number_of(frame, who) is not None), None)


def nobodys(listener, before, after):
    """Packets that are nobody's between the last of `before` and the first of `after`, at the latest such change."""
    voices = [speaker_of(frame) for _, frame in list(listener.heard)]
    last = max(at for at, who in enumerate(voices) if who == before and after in voices[at:])
    first = voices.index(after, last)
    return first - last - 1


def heard_of_caller(desk):
    """The numbers of the caller's frames at every engine that had the call, and at every human."""
    engines = [
        {number_of(message[16:], CALLER) for _, message in list(call.heard) if isinstance(message, bytes) and message[1] == 0}
        for call in desk.bot.calls
    ]
    humans = [set(line.frames_of(CALLER)) for line in desk.board.called(DESK)]
    return set.union(*engines, *humans) - {None}


def missing(desk, who, numbers):
    """The longest run of `who`'s frames that nobody heard, from each switch on for half a second. What is late elsewhere because
    this machine is busy has nothing to do with switches, and is guessed."""
    numbers = sorted(set(numbers))
    runs = [(earlier, later - earlier - 1) for earlier, later in zip(numbers, numbers[1:])]
    at_switch = lambda number: any(said[who] - 3 <= number <= said[who] + 25 for said in desk.switched)
    return max((length for number, length in runs if at_switch(number)), default=0)


def test_no_switch_of_modes_costs_more_than_one_packet_either_way(desk):
    caller = desk.caller
    desk.switch("assist", to={"number": DESK})
    desk.until_heard(caller, HUMAN)
    lost = {"ai_first to assist": nobodys(caller, ENGINE, HUMAN) - BEGINS, "of the human's first words": caller.frames_of(HUMAN)[0]}
    for mode in ("routing", "assist"):
        desk.switch(mode)
        desk.until_more(caller, HUMAN)
        desk.until_more(desk.human, CALLER)
        lost[f"of the human, to {mode}"] = missing(desk, HUMAN, caller.frames_of(HUMAN))
        lost[f"of the caller, to {mode}"] = missing(desk, CALLER, desk.human.frames_of(CALLER))
    desk.switch("ai_only")
    desk.until_heard(caller, ENGINE)
    lost["assist to ai_only"] = nobodys(caller, HUMAN, ENGINE)
    before = len(caller.heard)
    desk.switch("ai_first")
    desk.until_heard(caller, ENGINE)
    voices = [speaker_of(frame) for _, frame in list(caller.heard)[before - 50:]]
    lost["ai_only to ai_first"] = len(voices) - voices.count(ENGINE)
    desk.switch("routing", to={"number": DESK})
    desk.until_heard(caller, HUMAN)
    lost["ai_first to routing"] = nobodys(caller, ENGINE, HUMAN) - BEGINS
    desk.until_more(desk.human, CALLER)
    lost["of the caller, over all"] = missing(desk, CALLER, heard_of_caller(desk))

    print("packets missing:", lost)
    assert not {what: count for what, count in lost.items() if count > MISSING}
