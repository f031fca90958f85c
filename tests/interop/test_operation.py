"""The edge as its operator meets it: the README's first five minutes, the commands, reload, drain."""

import json
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

from lab import audio
from lab.edge import usual
from lab.engine import Engine
from lab.traffic import callee, caller
from lab.waiting import until

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
NUMBER = "+16505824074"


def configured(engine, receiver, target=None):
    config = usual()
    config["tenants"]["acme"]["webhook_url"] = receiver.url()
    config["engines"]["bot"] = {"url": engine.url, "dialect": "twilio"}
    config["providers"]["sip-main"]["routes"] = [{"prefix": "", "engine": "bot"}]
    if target:
        config["providers"]["sip-main"] |= {"target": f"sip:127.0.0.1:{target}", "engine": "bot", "probe_interval_sec": 1}
    return config


def reload(edge, message="the configuration was read again"):
    """SIGHUP, and what the log says to it."""
    lines = lambda: [line for line in edge.log() if line["fields"].get("message", "").startswith(message)]
    before = len(lines())
    edge.process.signal(signal.SIGHUP)
    return until(lambda: lines()[before:], what=f"\"{message}\" in the log")[0]


def invite(edge, number="+18005551234", source="127.0.0.1"):
    """One INVITE without a body from a socket of its own; the status of every response within two seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind((source, 0))
        phone.settimeout(0.5)
        own = "%s:%d" % phone.getsockname()
        host, _, port = edge.sip["udp"].rpartition(":")
        unique = time.monotonic_ns()
        request = (
            f"INVITE sip:{number}@{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{unique}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:me@{own}>;tag=1\r\nTo: <sip:{number}@{host}>\r\nCall-ID: {unique}\r\n"
            f"CSeq: 1 INVITE\r\nContact: <sip:me@{own}>\r\nContent-Length: 0\r\n\r\n")
        phone.sendto(request.encode(), (host, int(port)))
        responses, deadline = [], time.monotonic() + 2
        while time.monotonic() < deadline:
            try:
                text = phone.recv(65535).decode()
            except TimeoutError:
                continue
            responses.append(text)
            if int(text.split()[1]) >= 200:
                return responses
        return responses


def test_the_readmes_first_five_minutes_lead_to_a_call(callingedge, tmp_path, new_phone):
    """Command by command as it stands there, with ports of this test's own and a bot where it says one is."""
    block = re.search(r"```\n(callingedge init.*?)```", README.read_text(), re.DOTALL).group(1)
    commands = [line.split("#")[0].split()[1:] for line in block.splitlines()]
    assert [command[0] for command in commands] == ["init", "check", "doctor", "token", "run"]

    def run(*words):
        return subprocess.run([callingedge, *words], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True)

    engine = Engine(lambda call: call.listen())
    run(*commands[0])
    written = tmp_path / "callingedge.toml"
    text = written.read_text()
    for was, now in ((":5060", ":0"), ("127.0.0.1:8080", "127.0.0.1:0"), ("ws://127.0.0.1:8765/ws", engine.url)):
        assert was in text
        text = text.replace(was, now)
    written.write_text(text)
    assert "is good" in run(*commands[1]).stdout
    assert "takes our websocket" in run(*commands[2]).stdout
    token = run(*commands[3]).stdout.strip()
    assert re.fullmatch(r"ce_[0-9a-f]+_[0-9a-f]+", token)

    log = tmp_path / "run.log"
    with open(log, "wb") as out:
        edge = subprocess.Popen([callingedge, *commands[4]], cwd=tmp_path, stdout=out, stderr=out)
    try:
        address = until(lambda: re.search(r'SIP is heard transport="udp" address=(\S+)', log.read_text()), what="the start")[1]
        phone = new_phone(audio.silence(30))
        phone.dial(f"sip:anything@{address}")
        phone.wait_for("CALL_ESTABLISHED")
        assert len(engine.calls) == 2, "the doctor's, and the telephone's"
        phone.hang_up()
        phone.wait_for("CALL_CLOSED")
        edge.send_signal(signal.SIGTERM)
        assert edge.wait(20) == 0
    finally:
        edge.kill()
        engine.end()


def test_a_call_from_the_command_line_tells_what_becomes_of_it(start_edge, start_traffic, patient_engine, receiver, free_port):
    start_traffic(callee, free_port)
    edge = start_edge(configured(patient_engine, receiver, free_port))
    placing = subprocess.Popen(
        [edge.program, "call", NUMBER, "--from", "+18005551234"], cwd=edge.directory, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={"CALLINGEDGE_URL": edge.http, "CALLINGEDGE_TOKEN": edge.token})
    call = until(lambda: edge.calls(status="answered"), what="the answer")[0]["call_id"]
    edge.ask("POST", "/api/integrations/providers/sip-main/wrap-up", {"call_id": call, "disposition": "done"})

    told, complaint = placing.communicate(timeout=20)

    assert (placing.returncode, complaint) == (0, "")
    lines = told.splitlines()
    assert lines[0] == f"{call} over sip-main to {NUMBER}"
    assert [line.split()[1] for line in lines[1:]] == ["placed", "answered", "ended"]
    assert "api_hung_up" in lines[-1]
    explained = edge.command("explain", call).stdout
    for milestone in ("answered", "engine connected", "api_hung_up"):
        assert milestone in explained
    milestones = json.loads(edge.command("explain", call, "--json").stdout)["milestones"]
    assert [step["since_start_ms"] for step in milestones] == sorted(step["since_start_ms"] for step in milestones)


def test_a_call_from_the_command_line_that_is_never_answered_fails(start_edge, patient_engine, receiver, free_port):
    config = configured(patient_engine, receiver, free_port)
    config["providers"]["sip-main"]["response_timeout_ms"] = 1000
    edge = start_edge(config)

    placing = edge.command("call", NUMBER, "--json", check=False)

    assert placing.returncode == 1
    assert "never answered" in placing.stderr
    events = [json.loads(line) for line in placing.stdout.splitlines()]
    assert events[-1]["edge"]["end_reason"] == "unreachable"


@pytest.mark.parametrize(("words", "env", "code", "says"), [
    (["call", NUMBER], {"CALLINGEDGE_TOKEN": "ce_0_0"}, 1, "401 auth.invalid"),
    (["call", NUMBER], {"CALLINGEDGE_URL": "http://127.0.0.1:1"}, 1, "is `callingedge run` running there?"),
    (["call", NUMBER, "--provider", "sip-mein"], {}, 1, "404 provider.not_found"),
    (["call", "not a number"], {}, 1, "422 field.invalid"),
    (["call", NUMBER, "--engine", "nobody"], {}, 1, "422 engine.not_found"),
    (["call", NUMBER, "--mode", "routing"], {}, 1, "422"),
    (["explain", "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D"], {}, 1, "404 call.not_found"),
    (["token", "create", "--tenant", "acmee", "--scope", "admin"], {}, 1, "did you mean `acme`?"),
    (["token", "create", "--tenant", "acme", "--scope", "call:read"], {}, 2, "a scope is one of"),
    (["token", "revoke", "tok_1"], {}, 1, "there is no valid token"),
    (["run", "--config", "nowhere.toml"], {}, 1, "`callingedge init` writes one"),
    (["sing"], {}, 2, "unrecognized subcommand"),
])
def test_wrong_input_is_told_in_a_sentence(start_edge, patient_engine, receiver, free_port, words, env, code, says):
    edge = start_edge(configured(patient_engine, receiver, free_port))

    refused = edge.command(*words, env=env, check=False)

    assert refused.returncode == code
    assert says in refused.stderr, refused.stderr
    assert refused.stdout == ""


def test_a_revoked_token_stops_working_at_once(start_edge, patient_engine, receiver):
    edge = start_edge(configured(patient_engine, receiver))
    token = edge.new_token("acme", ["calls:read"])
    assert edge.ask("GET", "/api/calls", token=token).status == 200
    assert edge.ask("GET", "/api/webhooks/deliveries", token=token).status == 403

    listed = edge.command("token", "list").stdout
    edge.command("token", "revoke", token.split("_")[1])

    assert token.split("_")[2] not in listed
    refused = edge.ask("GET", "/api/calls", token=token)
    assert (refused.status, refused.json["code"]) == (401, "auth.invalid")


def test_a_second_edge_on_the_same_store_is_refused(start_edge, patient_engine, receiver):
    edge = start_edge(configured(patient_engine, receiver))

    second = edge.command("run", check=False)

    assert second.returncode == 1
    assert "callingedge.db" in second.stderr or "store" in second.stderr, second.stderr
    assert edge.ask("GET", "/healthz").status == 200


def test_a_broken_file_changes_nothing_on_reload(start_edge, start_traffic, patient_engine, receiver):
    edge = start_edge(configured(patient_engine, receiver))
    good = edge.path.read_text()
    for broken, says in (
        (good + "\nnonsense", "line"), (good.replace("dialect", "dialekt"), "did you mean `dialect`?"),
        (good.replace('"acme"', '"acne"', 1), "there is no tenant"), ("", "no provider"),
    ):
        edge.path.write_text(broken)
        said = reload(edge, "the configuration stays as it was")
        assert said["level"] == "ERROR" and says in said["fields"]["error"], said

    assert edge.ask("GET", "/readyz").status == 200
    assert start_traffic(caller, edge).finish() == 0
    receiver.last_event()
    assert receiver.kinds() == ["inbound_ringing", "answered", "ended"]


def test_a_reload_takes_effect_for_new_calls_and_leaves_running_ones(start_edge, start_traffic, patient_engine, receiver):
    edge = start_edge(configured(patient_engine, receiver))
    running = start_traffic(caller, edge, hold_ms=4000)
    until(lambda: edge.calls(status="answered"), what="the call")

    edge.config["providers"]["sip-main"]["routes"] = [{"number": "+18009999999", "engine": "bot"}]
    edge.write()
    reload(edge)

    refused = invite(edge)
    assert refused[-1].startswith("SIP/2.0 404")
    assert running.finish() == 0
    edge.config["http"]["listen"] = "127.0.0.1:1234"
    edge.write()
    reload(edge, "changed, and takes effect with the next start only")


def test_strangers_get_nothing_or_a_refusal(start_edge, patient_engine, receiver):
    config = configured(patient_engine, receiver)
    config["providers"]["sip-main"]["peers"] = ["127.0.0.9"]
    edge = start_edge(config)

    assert invite(edge) == []
    assert invite(edge, source="127.0.0.9")[-1].startswith("SIP/2.0 200")
    edge.config["sip"]["unknown_sources"] = "refuse"
    edge.write()
    reload(edge)
    assert invite(edge)[-1].startswith("SIP/2.0 403")


def test_a_drain_refuses_what_is_new_and_waits_for_what_runs(start_edge, start_traffic, patient_engine, receiver, free_port):
    edge = start_edge(configured(patient_engine, receiver, free_port))
    running = start_traffic(caller, edge, hold_ms=5000)
    until(lambda: edge.calls(status="answered"), what="the call")

    edge.process.signal(signal.SIGTERM)
    not_ready = until(lambda: (answer := edge.ask("GET", "/readyz")).status == 503 and answer, what="readyz")
    refused = invite(edge)
    placed = edge.ask("POST", "/api/integrations/providers/sip-main/calls", {"to": NUMBER})

    assert not_ready.json["ready"] is False and "draining" in str(not_ready.json["reasons"])
    assert edge.ask("GET", "/healthz").status == 200
    assert refused[-1].startswith("SIP/2.0 503") and "\r\nRetry-After:" in refused[-1]
    assert (placed.status, placed.json["code"]) == (503, "edge.draining")
    assert int(placed.headers["Retry-After"]) > 0
    assert running.finish() == 0, "the call went on to its own end"
    assert edge.process.running.wait(10) == 0
    assert receiver.kinds()[-1] == "ended" and receiver.last_event()["edge"]["end_reason"] == "remote_hung_up"


def test_a_drain_has_a_limit(start_edge, new_phone, patient_engine, receiver):
    phone = new_phone(audio.silence(60))
    config = configured(patient_engine, receiver)
    config["limits"]["drain_sec"] = 2
    edge = start_edge(config)
    phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
    phone.wait_for("CALL_ESTABLISHED")

    began = time.monotonic()
    edge.process.signal(signal.SIGTERM)
    phone.wait_for("CALL_CLOSED")
    assert edge.process.running.wait(10) == 0

    assert 1.5 < time.monotonic() - began < 5
    assert receiver.last_event()["edge"]["end_reason"] == "edge_shutdown"


def test_who_does_not_answer_a_bye_does_not_hold_up_the_stop(start_edge, new_phone, patient_engine, receiver):
    phone = new_phone(audio.silence(60))
    edge = start_edge(configured(patient_engine, receiver))
    phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
    phone.wait_for("CALL_ESTABLISHED")
    phone.process.kill()

    began = time.monotonic()
    edge.process.signal(signal.SIGTERM)
    until(lambda: edge.ask("GET", "/readyz").status == 503, what="readyz")
    edge.process.signal(signal.SIGTERM)

    assert edge.process.running.wait(10) == 0
    assert time.monotonic() - began < 8
    assert receiver.last_event()["edge"]["end_reason"] == "edge_shutdown"
