"""Applications written for Twilio: its own Python client places, reads, redirects and ends calls, its own validator proves the
requests, and a softphone is at the other end.
"""

import re

import numpy as np
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.twiml.voice_response import Connect, Dial, Gather, Reject, VoiceResponse

from lab import audio
from lab.application import ACCOUNT, SECRET, Application, client
from lab.edge import usual
from lab.engine import Engine
from lab.twilio import mark, media, ulaw
from lab.waiting import until

NUMBER, FROM = "+16505824074", "+18005551234"


@pytest.fixture
def application():
    application = Application()
    yield application
    application.close()
    assert all(asked.proven for asked in application.asked), application.asked


@pytest.fixture
def engine():
    """A bot in the words of Media Streams: says the greeting, waits until it was heard, and closes."""
    engine = Engine(greeter)
    yield engine
    engine.end()


def greeter(call):
    start = call.wait_for("event", "start")
    call.say(**media(start["streamSid"], ulaw(audio.speech("greeting"))))
    call.say(**mark(start["streamSid"], "end"))
    call.wait_for("event", "mark", within=20)


@pytest.fixture
def begin(start_edge, new_phone, application, engine, receiver):
    """`begin(says)`: an edge and the telephone that it calls."""

    def begin(says=audio.silence(60), answers="auto", **account):
        phone = new_phone(says, answers=answers, user=NUMBER)
        config = usual()
        host = re.match("ws://([^/]*)", engine.url)[1]
        config["tenants"] |= {"other": {}}
        config["tenants"]["acme"]["webhook_url"] = receiver.url()
        config["tenants"]["acme"]["twilio"] = {
            "account_sid": ACCOUNT, "provider": "sip-main", "auth_token": {"env": "TWILIO_AUTH_TOKEN"},
            "stream_hosts": [host], **account}
        config["providers"]["sip-main"]["target"] = f"sip:{phone.address}"
        edge = start_edge(config, env={"TWILIO_AUTH_TOKEN": SECRET})
        return edge, phone, client(edge)

    return begin


def connect(url, **parameters):
    response = VoiceResponse()
    stream = Connect()
    streamed = stream.stream(url=url, name="mine")
    for name, value in parameters.items():
        streamed.parameter(name=name, value=value)
    response.append(stream)
    return response


def test_a_call_is_placed_fetched_and_its_document_run_to_the_end(begin, application, engine, receiver):
    edge, phone, twilio = begin()
    response = connect(engine.url, who="Sam")
    response.pause(length=1)
    application.pages["/voice"] = str(response)

    call = twilio.calls.create(to=NUMBER, from_=FROM, url=application.url("/voice?x=1"),
                               status_callback=application.url("/status"),
                               status_callback_event=["initiated", "ringing", "answered", "completed"])
    assert (call.status, call.direction, call.to, call.from_formatted) == ("queued", "outbound-api", NUMBER, FROM)
    phone.wait_for("CALL_CLOSED", within=30)
    last = application.wait_for("/status", CallStatus="completed")

    asked = application.at("/voice")
    assert len(asked) == 1
    assert (asked[0]["CallSid"], asked[0]["AccountSid"], asked[0]["CallStatus"]) == (call.sid, ACCOUNT, "in-progress")
    told = application.at("/status")
    assert [one["CallStatus"] for one in told] == ["initiated", "ringing", "in-progress", "completed"]
    assert [one["SequenceNumber"] for one in told] == ["0", "1", "2", "3"]
    assert int(last["CallDuration"]) >= 2
    start = engine.calls[0].messages("event", "start")[0][1]["start"]
    assert (start["accountSid"], start["callSid"]) == (ACCOUNT, call.sid)
    assert start["customParameters"]["who"] == "Sam"
    assert audio.find(audio.speech("greeting"), phone.heard())[0] > 0.9999
    fetched = twilio.calls(call.sid).fetch()
    assert (fetched.status, fetched.answered_by, fetched.parent_call_sid) == ("completed", None, None)
    assert fetched.start_time < fetched.end_time
    assert int(fetched.duration) == int(last["CallDuration"])
    assert receiver.last_event()["edge"]["end_reason"] == "api_hung_up"


def test_a_running_call_is_redirected_and_ended(begin, application, engine, receiver):
    edge, phone, twilio = begin()
    call = twilio.calls.create(to=NUMBER, from_=FROM, twiml="<Response><Pause length='60'/></Response>")
    until(lambda: twilio.calls(call.sid).fetch().status == "in-progress", what="the answer")

    twilio.calls(call.sid).update(twiml=str(connect(engine.url)).replace("</Response>", "<Pause length='60'/></Response>"))
    greeting = audio.speech("greeting")
    until(lambda: len(phone.heard()) > 2 * audio.RATE + len(greeting), 20, "the greeting")
    application.pages["/later"] = "<Response><Pause length='60'/></Response>"
    twilio.calls(call.sid).update(url=application.url("/later"), method="GET")
    asked = application.wait_for("/later")
    ended = twilio.calls(call.sid).update(status="completed")

    assert asked["CallSid"] == call.sid
    assert ended.status == "completed"
    phone.wait_for("CALL_CLOSED")
    assert audio.find(greeting, phone.heard())[0] > 0.999
    with pytest.raises(TwilioRestException) as refused:
        twilio.calls(call.sid).update(status="completed")
    assert (refused.value.status, refused.value.code) == (400, 21220)


def test_a_call_that_rings_is_cancelled(begin, application):
    edge, phone, twilio = begin(answers="manual")
    call = twilio.calls.create(to=NUMBER, from_=FROM, twiml="<Response/>", status_callback=application.url("/status"))
    phone.wait_for("CALL_INCOMING")

    cancelled = twilio.calls(call.sid).update(status="canceled")

    assert cancelled.status == "canceled"
    phone.wait_for("CALL_CLOSED")
    assert application.wait_for("/status")["CallStatus"] == "canceled"


def test_calls_are_listed_page_by_page(begin):
    edge, phone, twilio = begin()
    made = []
    for _ in range(5):
        call = twilio.calls.create(to=NUMBER, from_=FROM, twiml="<Response><Hangup/></Response>")
        until(lambda: twilio.calls(call.sid).fetch().status == "completed", 20, "the end")
        made.append(call.sid)

    assert [call.sid for call in twilio.calls.list(page_size=2)] == made[::-1]
    assert [call.sid for call in twilio.calls.list(limit=3)] == made[:1:-1]
    assert len(twilio.calls.list(status="completed", to=NUMBER, from_=FROM)) == 5
    assert twilio.calls.list(status="busy") == [] == twilio.calls.list(to=FROM)


def test_what_is_wrong_is_told_in_twilios_numbers(begin):
    edge, phone, twilio = begin()

    def refusal(act):
        with pytest.raises(TwilioRestException) as refused:
            act()
        return refused.value.status, refused.value.code

    some = {"to": NUMBER, "from_": FROM, "twiml": "<Response/>"}
    reader = edge.new_token("acme", ["calls:read"])
    stranger = edge.new_token("other", ["calls:read", "calls:write"])
    nobody = "CA" + "0" * 32

    assert refusal(lambda: client(edge, token="wrong").calls.create(**some)) == (401, 20003)
    assert refusal(lambda: client(edge, token=stranger).calls.create(**some)) == (401, 20003)
    assert refusal(lambda: client(edge, account="AC" + "1" * 32).calls.create(**some)) == (401, 20003)
    assert refusal(lambda: client(edge, token=reader).calls.create(**some)) == (403, 20003)
    assert refusal(lambda: twilio.calls(nobody).fetch()) == (404, 20404)
    assert refusal(lambda: twilio.calls(nobody).update(status="completed")) == (404, 20404)
    assert refusal(lambda: twilio.calls.create(**{**some, "to": "nobody"})) == (400, 21211)
    assert refusal(lambda: twilio.calls.create(**{**some, "from_": "nobody"})) == (400, 21212)
    assert refusal(lambda: twilio.calls.create(**{**some, "to": "+442071234567"})) == (400, 21215)
    assert refusal(lambda: twilio.calls.create(to=NUMBER, from_=FROM)) == (400, 21205)
    assert refusal(lambda: twilio.calls.create(**{**some, "twiml": "<Response>"})) == (400, 12100)
    assert client(edge, token=reader).calls.list() == []


def test_who_answers_nonsense_is_asked_no_more_and_the_fallback_is(begin, application):
    edge, phone, twilio = begin()
    application.pages["/voice"] = "<html>no</html>"
    application.pages["/plan-b"] = "<Response><Pause length='1'/></Response>"

    call = twilio.calls.create(to=NUMBER, from_=FROM, url=application.url("/voice"),
                               fallback_url=application.url("/plan-b"))
    phone.wait_for("CALL_CLOSED", within=20)

    assert len(application.at("/voice")) == 1
    told = application.at("/plan-b")[0]
    assert (told["ErrorCode"], told["ErrorUrl"]) == ("12100", application.url("/voice"))


def test_an_application_may_not_reach_into_the_operators_network(start_edge, new_phone, application):
    phone = new_phone(audio.silence(60), user=NUMBER)
    config = usual()
    config["webhooks"]["allow_private"] = False
    config["tenants"]["acme"]["twilio"] = {
        "account_sid": ACCOUNT, "provider": "sip-main", "auth_token": {"env": "TWILIO_AUTH_TOKEN"}}
    config["providers"]["sip-main"]["target"] = f"sip:{phone.address}"
    edge = start_edge(config, env={"TWILIO_AUTH_TOKEN": SECRET})
    application.pages["/voice"] = "<Response><Pause length='60'/></Response>"

    client(edge).calls.create(to=NUMBER, from_=FROM, url=application.url("/voice"))
    phone.wait_for("CALL_CLOSED", within=20)
    client(edge).calls.create(to=NUMBER, from_=FROM,
                              twiml=str(connect("ws://127.0.0.1:22/")))
    until(lambda: len([e for e in phone.events if e["type"] == "CALL_CLOSED"]) == 2, 20, "the second end")

    assert application.asked == []
    told = lambda: [line["detail"] for call in edge.calls() for line in edge.timeline(call["call_id"])
                    if line["what"] == "stream failed"]
    assert until(told, what="why") == ["31920: 127.0.0.1:22 is not in `stream_hosts`"]


def test_an_inbound_call_chooses_by_key_and_is_put_through(begin, application, new_phone):
    caller = new_phone(np.tile(np.concatenate([audio.silence(2), audio.speech("greeting")]), 12))
    edge, human, twilio = begin(voice_url=application.url("/voice"), status_callback=application.url("/over"))
    asking = VoiceResponse()
    asking.append(Gather(num_digits=1, action="/menu", timeout=20))
    application.pages["/voice"] = str(asking)
    through = VoiceResponse()
    dialled = Dial(action="/after", caller_id=FROM, timeout=15)
    dialled.number(NUMBER)
    through.append(dialled)
    application.pages["/menu"] = str(through)
    application.pages["/after"] = "<Response><Hangup/></Response>"

    caller.dial(f"sip:{FROM}@{edge.sip['udp']}")
    caller.wait_for("CALL_ESTABLISHED")
    asked = application.wait_for("/voice")
    assert (asked["CallStatus"], asked["Direction"], asked["To"]) == ("ringing", "inbound", FROM)
    caller.press("5")
    assert application.wait_for("/menu")["Digits"] == "5"
    human.wait_for("CALL_ESTABLISHED")
    greeting = audio.speech("greeting")
    until(lambda: len(human.heard()) > len(greeting) + 2 * audio.RATE and audio.find(greeting, human.heard())[0] > 0.9,
          25, "the caller's voice")
    human.hang_up()
    after = application.wait_for("/after")
    caller.wait_for("CALL_CLOSED")

    assert (after["DialCallStatus"], after["DialBridged"], after["CallStatus"]) == ("completed", "true", "in-progress")
    over = application.wait_for("/over")
    assert (over["CallStatus"], over["CallSid"]) == ("completed", asked["CallSid"])
    shown = twilio.calls(asked["CallSid"]).fetch()
    assert (shown.status, shown.direction) == ("completed", "inbound")


def test_an_inbound_call_is_rejected(begin, application, new_phone):
    caller = new_phone(audio.silence(10))
    edge, human, twilio = begin(voice_url=application.url("/voice"))
    refusal = VoiceResponse()
    refusal.append(Reject(reason="busy"))
    application.pages["/voice"] = str(refusal)

    caller.dial(f"sip:{FROM}@{edge.sip['udp']}")

    assert "486" in caller.wait_for("CALL_CLOSED")["param"]
    assert twilio.calls.list(limit=1)[0].status == "busy"


def test_a_sound_is_fetched_and_heard(begin, application):
    edge, phone, twilio = begin()
    greeting = audio.speech("greeting")
    application.pages["/hello.wav"] = (audio.FIXTURES / "greeting.wav").read_bytes()
    response = VoiceResponse()
    response.play("/hello.wav", loop=2)
    application.pages["/voice"] = str(response)

    twilio.calls.create(to=NUMBER, from_=FROM, url=application.url("/voice"))
    phone.wait_for("CALL_CLOSED", within=30)

    assert len(application.at("/hello.wav")) == 1
    assert audio.find(greeting, phone.heard())[0] > 0.999
    assert audio.seconds_of_sound(phone.heard()) > 1.8 * audio.seconds_of_sound(greeting)
