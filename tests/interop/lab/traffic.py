"""SIPp: many calls in, and a far end that takes calls. Plain ones by its built-in scenarios; ones that speak by ours."""

import shutil
import textwrap

from . import audio
from .processes import Process

# UDP from one socket; TCP over one connection.
TRANSPORTS = {"udp": "u1", "tcp": "t1"}

SDP = textwrap.dedent("""
    v=0
    o=sipp 1 1 IN IP4 [local_ip]
    s=-
    c=IN IP4 [media_ip]
    t=0 0
    m=audio [rtpstream_audio_port] RTP/AVP 0
    a=rtpmap:0 PCMU/8000
    a=ptime:20
    """).strip()

# Calls, speaks for as long as the recording lasts, hangs up.
SPEAKING_CALLER = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="a caller that speaks">
  <send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

%(sdp)s
]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
  <nop><action><exec rtp_stream="%(recording)s,1,0"/></action></nop>
  <pause milliseconds="%(milliseconds)d"/>
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
  <recv response="200"/>
</scenario>
"""

# Answers, speaks, waits for the BYE.
SPEAKING_CALLEE = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="a callee that speaks">
  <recv request="INVITE" crlf="true"/>
  <send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[pid]t[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

]]></send>
  <send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]t[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

%(sdp)s
]]></send>
  <recv request="ACK" crlf="true"/>
  <nop><action><exec rtp_stream="%(recording)s,1,0"/></action></nop>
  <recv request="BYE"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
"""


# Answers, takes one REFER with `%(answer)s` and says in NOTIFYs what becomes of it.
TRUNK = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="a trunk that is asked to transfer">
  <recv request="INVITE" crlf="true"/>
  <send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]t[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=sipp 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
]]></send>
  <recv request="ACK" crlf="true"/>
  <recv request="REFER" crlf="true">
    <action>
      <ereg regexp=".*" search_in="hdr" header="From:" assign_to="edge"/>
      <ereg regexp=".*" search_in="hdr" header="To:" assign_to="trunk"/>
      <ereg regexp="sip:[^>]*" search_in="hdr" header="Contact:" assign_to="contact"/>
      <ereg regexp="sip:[^>]*" search_in="hdr" header="Refer-To:" check_it="true" assign_to="target"/>
    </action>
  </recv>
  <Reference variables="target"/>
  <send><![CDATA[
SIP/2.0 %(answer)s
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

]]></send>
%(notifies)s
  <recv request="BYE"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
"""

NOTIFY = """
  <send retrans="500"><![CDATA[
NOTIFY [$contact] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From:[$trunk]
To:[$edge]
Call-ID: [call_id]
CSeq: %(number)d NOTIFY
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
Event: refer
Subscription-State: %(state)s
Content-Type: message/sipfrag;version=2.0
Content-Length: [len]

SIP/2.0 %(status)s
]]></send>
  <recv response="200"/>
"""

# Before `target` and `contact` are used by nothing, SIPp wants to hear that this is meant.
UNUSED = '  <Reference variables="edge,trunk,contact"/>'

# Calls, is asked for a password, and calls again with it.
PROVING_CALLER = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="a caller that proves its password">
  <send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

%(sdp)s
]]></send>
  <recv response="100" optional="true"/>
  <recv response="401" auth="true"/>
  <send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
  <send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 2 INVITE
Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>
[authentication]
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

%(sdp)s
]]></send>
  <recv response="100" optional="true"/>
%(rest)s
</scenario>
"""

# That was enough.
PROVEN = """
  <recv response="180" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
  <pause milliseconds="300"/>
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 3 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
  <recv response="200"/>
"""

# Asked once more, it gives up.
NOT_PROVEN = """
  <recv response="401"/>
  <send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:caller@[local_ip]:[local_port]>;tag=[pid]t[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
"""

# What a caller offers that sends no audio of its own.
SILENT_SDP = SDP.replace("[rtpstream_audio_port]", "[media_port]")


class Traffic:
    def __init__(self, directory, *arguments):
        assert shutil.which("sipp"), "SIPp is not installed: tests/peers.sh test"
        directory.mkdir(parents=True, exist_ok=True)
        command = ["sipp", *arguments, "-i", "127.0.0.1", "-nostdin", "-trace_err", "-skip_rlimit"]
        self.process = Process(command, directory / "sipp.log", cwd=directory)

    def finish(self, within=60):
        """Its exit code: 0 when every call went as the scenario says."""
        return self.process.running.wait(within)

    def end(self):
        self.process.kill()


def caller(directory, edge, calls=1, hold_ms=500, number="+18005551234", rate=50):
    """Calls in, waits, hangs up."""
    return Traffic(directory, edge.sip["udp"], "-sn", "uac", "-s", number, "-m", calls, "-d", hold_ms, "-r", rate)


def callee(directory, port):
    """Answers every call."""
    return Traffic(directory, "-sn", "uas", "-p", port)


def speaking_caller(directory, edge, transport, calls, rate, milliseconds, number="+18005551234"):
    """Calls in over `transport`, speaks, hangs up."""
    scenario = written(directory, SPEAKING_CALLER, milliseconds)
    return Traffic(directory, edge.sip[transport], "-sf", scenario, "-t", TRANSPORTS[transport], "-s", number, "-m", calls,
                   "-r", rate, "-l", calls)


def proving_caller(directory, edge, transport, username, password, rest=PROVEN, number="+18005551234"):
    """One call in that answers the edge's challenge, and what has to come of it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "scenario.xml"
    path.write_text(PROVING_CALLER % {"sdp": SILENT_SDP, "rest": rest})
    return Traffic(directory, edge.sip[transport], "-sf", path, "-t", TRANSPORTS[transport], "-s", number, "-m", 1,
                   "-au", username, "-ap", password)


def speaking_callee(directory, transport, port, calls, milliseconds):
    """Answers `calls` calls over `transport` and speaks in each."""
    scenario = written(directory, SPEAKING_CALLEE, milliseconds)
    return Traffic(directory, "-sf", scenario, "-t", TRANSPORTS[transport], "-p", port, "-m", calls)


def written(directory, scenario, milliseconds):
    """The scenario and what it says: PCMU without a header, as long as the call."""
    directory.mkdir(parents=True, exist_ok=True)
    codes = (directory / "speech.pcmu")
    codes.write_bytes((audio.speech_codes("greeting") * 20)[:milliseconds * audio.RATE // 1000])
    path = directory / "scenario.xml"
    path.write_text(scenario % {"sdp": SDP, "recording": codes, "milliseconds": milliseconds})
    return path


def transferring_trunk(directory, port, answer, notifies=()):
    """Answers one call and its REFER with `answer`; then says each of `notifies`, the last one ending the subscription."""
    said = [
        NOTIFY % {
            "number": number,
            "state": "active;expires=60" if number < len(notifies) else "terminated;reason=noresource",
            "status": status,
        }
        for number, status in enumerate(notifies, 1)
    ]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "scenario.xml"
    path.write_text(TRUNK % {"answer": answer, "notifies": "".join(said) or UNUSED})
    return Traffic(directory, "-sf", path, "-p", port, "-m", 1)
