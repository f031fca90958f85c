"""Every way a transfer can go, all at once against one edge: SIPp calls, SIPp is called, and what the callers hear is measured.

    SIPp: callers -- INVITE, REFER, NOTIFY --> edge <-- INVITE, BYE -- SIPp: people
    ears: RTP  <------------------------------ edge -- edge.v1 --> an engine that falls silent when a transfer begins

A row says what is asked for, what the caller's far end makes of a REFER, and what must come of it. In each the caller has
RTP all the time, hears something while it waits, and is told the outcome once; afterwards nothing is left of any call.
"""

import dataclasses
import json
import socket
import time
from datetime import datetime

import pytest

from lab import engine, handing
from lab.ears import Ears
from lab.edge import usual
from lab.handing import ANSWERS, BROKEN, BUSY, DECLINES, LEAVES, MACHINE, PERSON, RINGS
from lab.ledger import held
from lab.waiting import until

TRANSFER = "/api/integrations/providers/{}/transfer"
# Numbers that callers dial: usually, where phones ring long, and where nobody is at the trunk's target.
USUAL, LONG, DEAD = "+18005550001", "+18005550002", "+18005550003"

# Nobody waits longer than this without sound, and without any packet.
MOST_SILENCE = 1.0


def refer(answer, *notifies):
    return ("refer", answer, list(notifies))


def to(*numbers):
    return list(numbers)


REFUSED = refer("405 Method Not Allowed")
BYE = ("bye",)


@dataclasses.dataclass
class Row:
    """`told`: the events after `answered`. `why` stands in the last error. `said` must be in the timeline, in this order."""

    name: str
    style: str
    targets: list
    told: list
    steps: list = dataclasses.field(default_factory=list)
    reason: str = None
    why: str = None
    said: list = dataclasses.field(default_factory=list)
    more: dict = dataclasses.field(default_factory=dict)
    number: str = USUAL

    @property
    def has_ended(self):
        return "ended" in self.told


GONE = dict(told=["transferred", "ended"], reason="transferred", said=["refer sent", "transfer accepted", "transferred"])
BACK = dict(told=["error"])
HUMAN = dict(told=["transferred"], said=["human called", "human answered", "engine dismissed", "mode", "transferred"])
LEFT = dict(told=["ended"], reason="remote_hung_up")
DROPPED = dict(told=["error", "ended"], reason="transfer_failed")
REPLACED = dict(told=["transferred", "ended"], reason="transferred",
                said=["human answered", "refer with replaces sent", "transfer accepted", "transferred"])
MERGED = dict(told=["transferred"], said=["refer with replaces sent", "no transfer by replaces", "mode", "transferred"])
LISTENS = {"on_machine": "next"}
HANGS_UP = {"on_failure": "hang_up"}

REFERS = [
    Row("accepted and taken", "blind", to(ANSWERS), **GONE, steps=[refer("202 Accepted", "100 Trying", "180 Ringing", "200 OK")]),
    Row("accepted and taken without a word between", "blind", to(ANSWERS), **GONE, steps=[refer("202 Accepted", "200 OK")]),
    Row("refused with 405", "blind", to(ANSWERS), **BACK, steps=[REFUSED], why='"status":405'),
    Row("refused with 503", "blind", to(ANSWERS), **BACK, steps=[refer("503 Service Unavailable")], why='"status":503'),
    Row("refused with 603", "blind", to(ANSWERS), **BACK, steps=[refer("603 Decline")], why='"status":603'),
    Row("not answered", "blind", to(ANSWERS), **BACK, steps=[refer(None)], why="transfer.timeout"),
    Row("accepted and never heard of", "blind", to(ANSWERS), **BACK, steps=[refer("202 Accepted")], why="transfer.timeout"),
    Row("accepted, then busy", "blind", to(ANSWERS), **BACK, steps=[refer("202 Accepted", "100 Trying", "486 Busy Here")],
        why='"method":"NOTIFY"', said=["transfer progress", "transfer target failed", "transfer failed"]),
    Row("accepted, then 503", "blind", to(ANSWERS), **BACK, steps=[refer("202 Accepted", "503 Service Unavailable")],
        why='"method":"NOTIFY"'),
    Row("accepted, then given up without an outcome", "blind", to(ANSWERS), **BACK, steps=[refer("202 Accepted", "100 Trying")],
        why='"method":"NOTIFY"'),
    Row("the caller hangs up on the question", "blind", to(ANSWERS), **LEFT, steps=[refer(None), BYE]),
    Row("the trunk hangs up instead of telling", "blind", to(ANSWERS), **GONE, steps=[refer("202 Accepted"), BYE]),
    Row("the first is busy, the second is taken", "blind", to(BUSY, ANSWERS), **GONE,
        steps=[refer("202 Accepted", "486 Busy Here"), refer("202 Accepted", "200 OK")]),
    Row("whoever refuses is not asked for the second", "blind", to(BUSY, ANSWERS), **BACK, steps=[REFUSED], why='"status":405'),
    Row("refused, and the call was to end then", "blind", to(ANSWERS), **DROPPED, steps=[REFUSED], more=HANGS_UP),
    Row("not answered, and the call was to end then", "blind", to(ANSWERS), **DROPPED, steps=[refer(None)], more=HANGS_UP),
]
AUTO = [
    Row("405, so the edge calls", "auto", to(ANSWERS), **HUMAN, steps=[REFUSED]),
    Row("603, so the edge calls", "auto", to(ANSWERS), **HUMAN, steps=[refer("603 Decline")]),
    Row("not answered, so the edge calls", "auto", to(ANSWERS), **HUMAN, steps=[refer(None)]),
    Row("never heard of, so the edge calls", "auto", to(ANSWERS), **HUMAN, steps=[refer("202 Accepted")]),
    Row("the trunk cannot, so the edge calls", "auto", to(ANSWERS), **HUMAN,
        steps=[refer("202 Accepted", "100 Trying", "503 Service Unavailable")]),
    Row("busy for the trunk is busy for the edge", "auto", to(BUSY, ANSWERS), **GONE,
        steps=[refer("202 Accepted", "486 Busy Here"), refer("202 Accepted", "200 OK")]),
    Row("the edge finds it busy", "auto", to(BUSY), **BACK, steps=[REFUSED], why='"status":486'),
    Row("the edge finds it busy and calls the second", "auto", to(BUSY, ANSWERS), **HUMAN, steps=[REFUSED]),
    Row("the edge finds it busy, and the call was to end then", "auto", to(BUSY), **DROPPED, steps=[REFUSED], more=HANGS_UP),
]
BRIDGES = [
    Row("answered", "bridge", to(ANSWERS), **HUMAN),
    Row("busy", "bridge", to(BUSY), **BACK, why='"status":486'),
    Row("declined", "bridge", to(DECLINES), **BACK, why='"status":603'),
    Row("broken", "bridge", to(BROKEN), **BACK, why='"status":503'),
    Row("no answer", "bridge", to(RINGS), **BACK, why="transfer.no_answer"),
    Row("nobody there", "bridge", to(ANSWERS), **BACK, why="transfer.unreachable", number=DEAD),
    Row("voicemail", "bridge", to(MACHINE), **BACK, why="transfer.voicemail", more=LISTENS, said=["human answered by"]),
    Row("voicemail, where nobody listens for it", "bridge", to(MACHINE), **HUMAN),
    Row("a person, listened for", "bridge", to(PERSON), **HUMAN, more=LISTENS),
    Row("voicemail, then a person", "bridge", to(MACHINE, PERSON), **HUMAN, more=LISTENS),
    Row("the fourth of a list", "bridge", to(BUSY, RINGS, DECLINES, ANSWERS), **HUMAN),
    Row("a list where nobody comes", "bridge", to(BUSY, BROKEN, DECLINES), **BACK, why='"status":603'),
    Row("`next`, and there is one", "bridge", to(BUSY, ANSWERS), **HUMAN, more={"on_failure": "next"}),
    Row("`next`, and there is none", "bridge", to(BUSY), **BACK, more={"on_failure": "next"}, why='"status":486'),
    Row("busy, and the call was to end then", "bridge", to(BUSY), **DROPPED, more=HANGS_UP),
    Row("voicemail, and the call was to end then", "bridge", to(MACHINE), **DROPPED, more=LISTENS | HANGS_UP),
    Row("the caller hangs up while it rings", "bridge", to(RINGS), **LEFT, steps=[("pause", 8000), BYE], number=LONG),
    Row("the human hangs up, and the engine has the caller again", "bridge", to(LEAVES), told=["transferred", "transferred"],
        said=["human answered", "human hung up", "engine has the caller"]),
]
ATTENDED = [
    Row("replaced", "attended", to(ANSWERS), **REPLACED, steps=[refer("202 Accepted", "100 Trying", "200 OK")]),
    Row("Replaces is refused", "attended", to(ANSWERS), **MERGED, steps=[REFUSED]),
    Row("Replaces is not answered", "attended", to(ANSWERS), **MERGED, steps=[refer(None)]),
    Row("Replaces is never heard of", "attended", to(ANSWERS), **MERGED, steps=[refer("202 Accepted")]),
    Row("Replaces finds it busy", "attended", to(ANSWERS), **MERGED, steps=[refer("202 Accepted", "486 Busy Here")]),
    Row("Replaces comes to 503", "attended", to(ANSWERS), **MERGED, steps=[refer("202 Accepted", "503 Service Unavailable")]),
    Row("the human is busy", "attended", to(BUSY), **BACK, why='"status":486'),
    Row("the human does not answer", "attended", to(RINGS), **BACK, why="transfer.no_answer"),
    Row("the human is a machine", "attended", to(MACHINE), **BACK, why="transfer.voicemail", more=LISTENS),
    Row("the human is busy, the second is there", "attended", to(BUSY, ANSWERS), **MERGED, steps=[REFUSED]),
    Row("the human loses patience", "attended", to(LEAVES), **BACK, steps=[refer("202 Accepted")], why="transfer.timeout"),
    Row("the human loses patience, and the call was to end then", "attended", to(LEAVES), **DROPPED,
        steps=[refer("202 Accepted")], more=HANGS_UP),
    Row("the caller hangs up on the question with Replaces", "attended", to(ANSWERS), **LEFT, steps=[refer(None), BYE]),
]
ROWS = REFERS + AUTO + BRIDGES + ATTENDED


def talks_between_transfers(call):
    """An edge.v1 engine that speaks when it has the caller, and falls silent while a transfer is under way."""
    segment = 0
    while True:
        message = call.next(60)
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "start":
            call.say(type="accept")
        elif kind == "answered" or (kind == "transfer" and message["state"] == "failed"):
            segment += 1
            header = bytes([1, 2, 0, 0]) + bytes(8) + segment.to_bytes(4, "big")
            for _ in range(60):
                call.socket.send(header + b"\x41" * 8000)
        elif kind == "transfer" and message["state"] == "requested":
            call.say(type="clear")
        elif kind == "stop":
            return


@pytest.fixture
def bot():
    bot = engine.Engine(talks_between_transfers, "edge.v1")
    yield bot
    bot.end()


@pytest.fixture
def ears():
    ears = Ears()
    yield ears
    ears.end()


@pytest.fixture
def edge(start_edge, start_traffic, receiver, bot, free_port):
    start_traffic(handing.people, free_port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
        dead.bind(("127.0.0.1", 0))
        nobody = dead.getsockname()[1]
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["bot"] = {"url": bot.url, "dialect": "edge.v1"}
    config["workflows"] = {
        "usual": {"engine": "bot", "humans": [ANSWERS], "human_ring_sec": 3, "human_for_engine": False},
        "long": {"engine": "bot", "humans": [ANSWERS], "human_for_engine": False},
    }
    trunk = config["providers"]["sip-main"] | {
        "target": f"sip:127.0.0.1:{free_port}", "probe_interval_sec": 0, "transfer_timeout_sec": 4, "response_timeout_ms": 3000,
    }
    config["providers"] = {
        "sip-main": trunk | {"routes": [{"number": USUAL, "workflow": "usual"}, {"number": LONG, "workflow": "long"}]},
        "sip-dead": trunk | {"target": f"sip:127.0.0.1:{nobody}", "routes": [{"number": DEAD, "workflow": "long"}]},
    }
    return start_edge(config)


def test_every_transfer_ends_as_it_is_told_and_nobody_is_left_in_silence(edge, start_traffic, receiver, ears):
    running = begin(edge, start_traffic, ears)
    for case in running:
        case.ask(edge)
    for case in running:
        case.await_outcome(receiver)
    time.sleep(1)
    for case in running:
        case.end(edge, receiver)
    wrong = [f"{case.row.style}, {case.row.name}: {problem}" for case in running for problem in case.problems(edge, receiver)]
    report(running)
    assert not wrong, "\n".join(["", *wrong])
    assert {traffic.finish(within=20) for traffic in {case.traffic for case in running}} == {0}
    until(lambda: not held(edge.metrics()), 60, f"nothing is left: {held(edge.metrics())}", every=0.5)


def begin(edge, start_traffic, ears):
    """Everybody calls, those who do the same out of one SIPp; all are answered."""
    cases = [Case(row, f"+1650556{place:04}", ears.new()) for place, row in enumerate(ROWS)]
    ears.start()
    alike = {}
    for case in cases:
        alike.setdefault(repr(case.row.steps), []).append(case)
    for group in alike.values():
        rows = [(case.number, case.ear.port, case.row.number) for case in group]
        traffic = start_traffic(handing.callers, edge, group[0].row.steps, rows)
        for case in group:
            case.traffic = traffic
    answered = lambda: [call for call in edge.calls(status="answered", limit=200)]
    until(lambda: len(answered()) == len(cases), 20, "that everybody is answered")
    calls = {call["from"]: call for call in answered()}
    for case in cases:
        case.call, case.provider = calls[case.number]["call_id"], calls[case.number]["provider"]
    until(lambda: all(len(case.ear.heard) > 10 for case in cases), 10, "the engine's voice in every call")
    return cases


class Case:
    """One row, being played."""

    def __init__(self, row, number, ear):
        self.row, self.number, self.ear = row, number, ear
        self.traffic = self.call = self.provider = self.milestones = None

    def ask(self, edge):
        first, *then = self.row.targets
        body = {"call_id": self.call, "to": {"number": first}, "then": [{"number": number} for number in then],
                "style": self.row.style, **self.row.more}
        asked = edge.ask("POST", TRANSFER.format(self.provider), body)
        assert asked.status == 202, (self.row, asked.body)

    def await_outcome(self, receiver):
        told = lambda: receiver.kinds(self.call)[2:]
        try:
            until(lambda: len(told()) >= len(self.row.told), 30, self.row.name)
        except AssertionError:
            """Told by `problems`, with all the others."""

    def end(self, edge, receiver):
        if not self.row.has_ended:
            self.status = edge.call(self.call, self.provider)["status"]
            path = f"/api/integrations/providers/{self.provider}/wrap-up"
            edge.ask("POST", path, {"call_id": self.call, "disposition": "done"})
        receiver.last_event(self.call)

    def problems(self, edge, receiver):
        """Whatever is not as it should be."""
        row, events = self.row, receiver.events(self.call)
        kinds = ["inbound_ringing", "answered", *row.told, *([] if row.has_ended else ["ended"])]
        if [event["kind"] for event in events] != kinds:
            yield f"told {[event['kind'] for event in events]}, not {kinds}"
        if [event["edge"]["seq"] for event in events] != list(range(1, len(events) + 1)):
            yield "seq has gaps"
        ends = [event["edge"]["end_reason"] for event in events if event["edge"]["end_reason"]]
        if ends != [row.reason or "api_hung_up"]:
            yield f"ended as {ends}"
        if not row.has_ended and self.status != "answered":
            yield f"the call was {self.status} afterwards"
        errors = [event["raw"] for event in events if event["kind"] == "error"]
        if row.why and (not errors or row.why not in compact(errors[-1])):
            yield f"the error says {errors}"
        self.milestones = edge.timeline(self.call)
        said = [step["what"] for step in self.milestones]
        places = iter(said)
        if not all(what in places for what in ["transfer requested", *row.said]):
            yield f"the timeline says {said}"
        yield from self.silences()

    def silences(self):
        self.gap = self.ear.longest_gap()
        if self.gap > MOST_SILENCE:
            yield f"{self.gap:.2f} s without a packet"
        since, until = self.waited()
        self.silence = self.ear.longest_silence(since, until)
        if self.silence > MOST_SILENCE:
            yield f"{self.silence:.2f} s of silence in {until - since:.2f} s of waiting"

    def waited(self):
        """From the order to its outcome, as the timeline has it."""
        at = {}
        for step in self.milestones:
            at.setdefault(step["what"], datetime.fromisoformat(step["at"]).timestamp())
        outcome = min(at[what] for what in ("transferred", "transfer failed", "ended", "error") if what in at)
        return at["transfer requested"], min(outcome, self.ear.heard[-1][0])


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def report(cases):
    known = [case for case in cases if case.milestones]
    print(f"{len(cases)} transfers; longest time without a packet {max(case.gap for case in known):.3f} s, "
          f"without sound while waiting {max(case.silence for case in known):.3f} s")
