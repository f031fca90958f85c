"""A credential that the edge holds: brought by a link, used for an engine, replaced while calls run, told to nobody."""

from lab.edge import usual
from lab.engine import Engine, patient
from lab.traffic import caller
from lab.waiting import until

KEY = "5a" * 32
ALL, LINKS = "/api/credentials", "/api/credentials/intake"


def bring(edge, value):
    """A new link, and the value by it, without a token."""
    link = edge.ask("POST", LINKS, {"name": "bot-token"}).json["link"]
    return edge.ask("POST", link, {"value": value}, headers={"Authorization": ""})


def lines(edge, message):
    return [line for line in edge.log() if line["fields"].get("message", "").startswith(message)]


def authorization(engine, start_traffic, edge):
    """What the engine is shown when it is called."""
    before = len(engine.calls)
    traffic = start_traffic(caller, edge, calls=1)
    call = until(lambda: engine.calls[before:], what="a call at the engine")[0]
    traffic.end()
    return call.socket.request.headers["Authorization"]


def test_a_held_token_reaches_the_engine_and_a_new_one_does_without_a_reload(start_edge, start_traffic):
    engine = Engine(patient)
    config = usual()
    config["credentials"] = {"key": {"env": "SEALING_KEY"}}
    config["engines"]["bot"] = {"url": engine.url, "dialect": "twilio"}
    config["providers"]["sip-main"]["routes"] = [{"prefix": "", "engine": "bot"}]
    edge = start_edge(config, env={"SEALING_KEY": KEY})

    made = edge.ask("POST", ALL, {"name": "bot-token"})
    brought = bring(edge, "the first secret")
    edge.config["engines"]["bot"]["token"] = {"held": "acme/bot-token"}
    edge.write()
    check = edge.command("check", str(edge.path))
    edge.process.signal(1)
    until(lambda: lines(edge, "the configuration was read again"), what="a reload")
    first = authorization(engine, start_traffic, edge)
    # What the operator is about to write must not take effect with somebody else's value.
    edge.path.write_text("half of a conf")
    bring(edge, "the second secret")
    until(lambda: len(lines(edge, "the configuration was read again")) == 2, what="the new value")
    second = authorization(engine, start_traffic, edge)
    in_use = edge.ask("DELETE", f"{ALL}/bot-token")
    records = edge.ask("GET", "/api/audit").json["records"]
    edge.write()
    edge.stop()
    files = b"".join(path.read_bytes() for path in edge.directory.iterdir())
    edge.start()
    third = authorization(engine, start_traffic, edge)
    engine.end()

    assert (made.status, brought.status) == (201, 200), brought.body
    assert "is good" in check.stdout
    assert (first, second, third) == ("Bearer the first secret", "Bearer the second secret", "Bearer the second secret")
    assert in_use.json["code"] == "credential.in_use"
    used = [record["actor"] for record in records if record["action"] == "credential.used"]
    assert used == ["configuration (a new value)", "configuration (reload)", "configuration (check)"]
    taken = [record for record in records if record["action"] == "intake.taken"]
    assert [record["source"] for record in taken] == ["127.0.0.1"] * 2
    assert b"the first secret" not in files and b"the second secret" not in files


def test_a_value_that_cannot_be_had_is_a_mistake_that_says_why(start_edge):
    config = usual()
    config["engines"]["bot"] = {"url": "ws://127.0.0.1:9", "dialect": "twilio"}
    config["credentials"] = {"key": {"env": "SEALING_KEY"}}
    edge = start_edge(config, env={"SEALING_KEY": KEY})
    edge.ask("POST", ALL, {"name": "bot-token"})

    def told(held, key=KEY):
        edge.config["engines"]["bot"]["token"] = {"held": held}
        edge.write()
        ran = edge.command("check", str(edge.path), check=False, env={"SEALING_KEY": key})
        assert ran.returncode == 1
        return ran.stderr

    assert "has no value yet; make a link" in told("acme/bot-token")
    assert "is not held; make it with POST" in told("acme/nothing")
    assert "names no held credential; write the tenant and the name" in told("bot-token")
    bring(edge, "a secret")
    assert "cannot be opened with `key` of [credentials]" in told("acme/bot-token", key="a5" * 32)
    assert "`key` of [credentials] cannot be used" in told("acme/bot-token", key="short")
    del edge.config["credentials"]
    assert "write `key` in [credentials]" in told("acme/bot-token")
