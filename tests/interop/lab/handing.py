"""SIPp at both ends of a call that changes hands: callers who are asked to go elsewhere, and people who are called.

What a caller does is a list of steps; what a person does is written in the number that is called.

    ("refer", "202 Accepted", ["180 Ringing", "486 Busy Here"])   takes a REFER and says in NOTIFYs what becomes of it
    ("refer", None, [])                                           lets it go unanswered
    ("pause", 3000)                                               waits so many milliseconds
    ("bye",)                                                      hangs up; without it the edge does
"""

import textwrap

from . import audio, ears
from .traffic import Traffic

# Every person's number begins so; the digit behind it says what they do.
PEOPLE = "+165055501"
ANSWERS, PERSON, LEAVES = PEOPLE + "00", PEOPLE + "10", PEOPLE + "20"
MACHINE = PEOPLE + "30"
BUSY, DECLINES, BROKEN = PEOPLE + "40", PEOPLE + "50", PEOPLE + "60"
RINGS = PEOPLE + "70"

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="%s">\n'

REPLY = """
  <send%(retrans)s><![CDATA[
SIP/2.0 %(status)s
[last_Via:]
[last_From:]
[last_To:]%(tag)s
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
%(body)s
]]></send>
"""
TAG = ";tag=[pid]t[call_number]"
NO_BODY = "Content-Length: 0\n"

SDP = textwrap.dedent("""\
    Content-Type: application/sdp
    Content-Length: [len]

    v=0
    o=sipp 1 1 IN IP4 [local_ip]
    s=-
    c=IN IP4 [media_ip]
    t=0 0
    m=audio %s RTP/AVP 0
    a=rtpmap:0 PCMU/8000
    """)

INVITE = """
  <send retrans="500"><![CDATA[
INVITE sip:[field2]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:[field0]@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: <sip:[field2]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:[field0]@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
""" + SDP % "[field1]" + """
]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rrs="true">
    <action>
      <ereg regexp=".*" search_in="hdr" header="From:" assign_to="caller"/>
      <ereg regexp=".*" search_in="hdr" header="To:" assign_to="edge"/>
    </action>
  </recv>
  <Reference variables="caller,edge"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From:[$caller]
To:[$edge]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
"""

REQUEST = """
  <send retrans="500"><![CDATA[
%(method)s [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From:[$caller]
To:[$edge]
Call-ID: [call_id]
CSeq: %(number)d %(method)s
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
%(rest)s
]]></send>
  <recv response="200"/>
"""

# 100 and 200 of the INVITE come in any order with the first request; whatever the edge asks first is kept apart by labels.
PERSON_CALLED = """
  <recv request="INVITE" crlf="true">
    <action>
      %(numbers)s
      <ereg regexp=".*" search_in="hdr" header="From:" assign_to="edge"/>
      <ereg regexp="sip:[^>]*" search_in="hdr" header="Contact:" assign_to="contact"/>
    </action>
  </recv>
"""


def reply(status, body=NO_BODY, tag="", retrans=False):
    return REPLY % {"status": status, "body": body, "tag": tag, "retrans": ' retrans="500"' if retrans else ""}


def callers(directory, edge, steps, rows):
    """Everyone in `rows` (number, RTP port, called number) calls the edge and takes these steps."""
    directory.mkdir(parents=True, exist_ok=True)
    scenario = HEAD % "a caller who is asked to go elsewhere" + INVITE
    number, leaves = 1, False
    for kind, *rest in steps:
        if kind == "refer":
            answer, notifies = rest
            scenario += '  <recv request="REFER" crlf="true"/>\n'
            if answer:
                scenario += reply(answer)
            for place, status in enumerate(notifies, 1):
                number += 1
                state = "active;expires=60" if place < len(notifies) else "terminated;reason=noresource"
                about = (f"Event: refer\nSubscription-State: {state}\nContent-Type: message/sipfrag;version=2.0\n"
                         f"Content-Length: [len]\n\nSIP/2.0 {status}\n")
                scenario += '  <pause milliseconds="200"/>\n' + REQUEST % {"method": "NOTIFY", "number": number, "rest": about}
        elif kind == "pause":
            scenario += f'  <pause milliseconds="{rest[0]}"/>\n'
        elif kind == "bye":
            leaves, number = True, number + 1
            scenario += REQUEST % {"method": "BYE", "number": number, "rest": NO_BODY}
    if not leaves:
        scenario += '  <recv request="BYE" crlf="true"/>\n' + reply("200 OK")
    (directory / "scenario.xml").write_text(scenario + "</scenario>\n")
    (directory / "callers.csv").write_text("SEQUENTIAL\n" + "".join(";".join(map(str, row)) + "\n" for row in rows))
    return Traffic(directory, edge.sip["udp"], "-sf", directory / "scenario.xml", "-inf", directory / "callers.csv",
                   "-m", len(rows), "-l", len(rows), "-r", 50)


def people(directory, port):
    """Everyone who can be called, until the process is ended."""
    directory.mkdir(parents=True, exist_ok=True)
    speech = audio.speech_codes("greeting")
    hello, quiet = speech[800:5600], b"\xff" * 8 * 2100
    steady = ears.tone(1000, 60)
    says = {"answers": steady, "person": hello + quiet + steady, "machine": speech * 4, "leaves": steady}
    for name, codes in says.items():
        (directory / f"{name}.pcmu").write_bytes(codes)
    kinds = {"answers": ANSWERS, "person": PERSON, "leaves": LEAVES, "machine": MACHINE, "busy": BUSY, "declines": DECLINES,
             "broken": BROKEN}
    matching = lambda number: r"^INVITE sip:\%s" % number
    numbers = "\n      ".join(
        f'<ereg regexp="{matching(number)}" search_in="msg" assign_to="{name}"/>' for name, number in kinds.items())
    scenario = HEAD % "people" + PERSON_CALLED % {"numbers": numbers}
    scenario += reply("180 Ringing", tag=TAG)
    labels = {name: str(place) for place, name in enumerate(kinds, 1)}
    scenario += '  <nop hide="true"/>\n'
    for name in kinds:
        scenario += f'  <nop hide="true" next="{labels[name]}" test="{name}"/>\n'
    # Whoever only rings is cancelled.
    scenario += ('  <recv request="CANCEL" crlf="true"/>\n' + reply("200 OK")
                 + cancelled() + '  <recv request="ACK" next="99"/>\n')
    for name in kinds:
        scenario += f'  <label id="{labels[name]}"/>\n'
        scenario += spoken(directory / f"{name}.pcmu", leaves=name == "leaves") if name in says else refused(name)
    scenario += '  <label id="99"/>\n  <nop hide="true"/>\n'
    (directory / "scenario.xml").write_text(scenario + "</scenario>\n")
    return Traffic(directory, "-sf", directory / "scenario.xml", "-p", port)


def cancelled():
    """The INVITE's own 487; what SIPp received last is the CANCEL."""
    return """
  <send retrans="500"><![CDATA[
SIP/2.0 487 Request Terminated
[last_Via:]
[last_From:]
[last_To:];tag=[pid]t[call_number]
[last_Call-ID:]
CSeq: [last_cseq_number] INVITE
Content-Length: 0

]]></send>
"""


def refused(name):
    status = {"busy": "486 Busy Here", "declines": "603 Decline", "broken": "503 Service Unavailable"}[name]
    return reply(status, tag=TAG, retrans=True) + '  <recv request="ACK" next="99"/>\n'


def spoken(recording, leaves):
    """Answers and speaks; whoever `leaves` hangs up after two seconds."""
    answered = (reply("200 OK", SDP % "[rtpstream_audio_port]", TAG, retrans=True) + '  <recv request="ACK"/>\n'
                + f'  <nop><action><exec rtp_stream="{recording},1,0"/></action></nop>\n')
    if leaves:
        return answered + """
  <pause milliseconds="2000"/>
  <send retrans="500"><![CDATA[
BYE [$contact] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:people@[local_ip]>;tag=[pid]t[call_number]
To:[$edge]
Call-ID: [call_id]
CSeq: 1 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
  <recv response="200" next="99"/>
"""
    return answered + '  <recv request="BYE"/>\n' + reply("200 OK").replace("<send>", '<send next="99">')
