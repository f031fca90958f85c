"""A softphone that speaks G.722 or Opus: what lies above the telephone's band reaches the engine, comes back, and is recorded."""

import wave

import numpy as np
import pytest

from lab import audio, dialect
from lab.edge import usual
from lab.engine import Engine
from lab.waiting import until

NUMBER = "+18005551234"
WIDE = 16000


def chirp(seconds):
    """From 300 to 7,000 Hz and so mostly above what narrow telephones carry; nothing else sounds alike."""
    at = np.arange(int(WIDE * seconds)) / WIDE
    return 8000 * np.sin(2 * np.pi * (300 * at + (7000 - 300) * at ** 2 / (2 * seconds)))


def quiet(seconds):
    return np.zeros(int(WIDE * seconds))


def above(samples, hertz=4000):
    """The share of the energy above that frequency."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    return power[int(hertz * len(samples) / WIDE):].sum() / power.sum()


@pytest.fixture
def place(start_edge, new_phone):
    """`place(codecs, hears, says)`: a call of a wideband phone to an engine that echoes; edge, phone, engine."""
    ends = []

    def start(codecs, hears, says, **phone):
        engine = Engine(lambda call: echo(call, hears), "edge.v1")
        ends.append(engine)
        config = usual()
        config["engines"]["bot"] = {"url": engine.url, "dialect": "edge.v1"}
        config["recording"] = {"directory": "tapes"}
        config["workflows"] = {"taped": {"mode": "ai_only", "engine": "bot", "record": "stereo"}}
        config["providers"]["sip-main"] |= {"routes": [{"prefix": "", "workflow": "taped"}]}
        if codecs:
            config["providers"]["sip-main"]["codecs"] = codecs
        edge = start_edge(config)
        phone = new_phone(says, rate=WIDE, **phone)
        phone.dial(f"sip:{NUMBER}@{edge.sip['udp']}")
        return edge, phone, engine

    yield start
    for engine in ends:
        engine.end()


def echo(call, hears):
    """Asks for a codec, keeps what it hears and says it back."""
    seq = 0
    call.audio = bytearray()
    call.wait_for("type", "start")
    call.say(type="accept", id="a1", codec=hears)
    while True:
        message = call.next()
        if not isinstance(message, bytes):
            continue
        frame, payload = dialect.read_frame(message)
        assert frame["codec"] == hears
        call.audio += payload
        call.socket.send(dialect.HEADER.pack(1, 2, 0, message[3], seq, 0, 1) + payload)
        seq += 1


@pytest.mark.parametrize(("codecs", "codec"), [(None, "G722/16000/1"), (["G722", "PCMU"], "G722/16000/1"), (["opus"], "opus/48000/2")])
def test_a_wideband_call_carries_7_khz_to_the_engine_and_back(place, codecs, codec):
    said = chirp(2.0)
    edge, phone, engine = place(codecs, "l16_16k", np.concatenate([quiet(0.5), said, quiet(60)]), codec=codec)

    phone.wait_for("CALL_ESTABLISHED")
    until(lambda: len(phone.heard()) > WIDE * 4, 20, "the echo")
    phone.hang_up()

    heard = phone.heard()
    assert_heard(said, heard)
    _, at = audio.find(said, heard)
    assert above(heard[at:at + len(said)]) > 0.35
    up = np.frombuffer(bytes(engine.calls[0].audio), "<i2").astype(float)
    assert_heard(said, up)
    tape = until(lambda: finished_tape(edge), 10, "the recording")
    assert tape.getframerate() == WIDE
    sides = np.frombuffer(tape.readframes(tape.getnframes()), "<i2").reshape(-1, 2).astype(float)
    assert_heard(said, sides[:, 0])
    assert_heard(said, sides[:, 1])


def assert_heard(said, heard, least=0.95):
    """All but two of its pieces, wherever they are: on a busy machine a telephone may stumble."""
    score = audio.pieces_heard_at_any_phase(said, heard, 3200)
    assert np.count_nonzero(score > least) >= len(score) - 2, score


def finished_tape(edge):
    """The one recording, when its call has ended."""
    files = list((edge.directory / "tapes").rglob("*.wav"))
    return wave.open(str(files[0])) if files and edge.calls(status="ended") else None


@pytest.mark.parametrize(("codecs", "chosen"), [(None, "PCMU"), (["G722", "PCMU"], "G722")])
def test_of_two_common_codecs_the_configuration_says_which(place, codecs, chosen):
    _, phone, engine = place(codecs, "pcmu", quiet(60), codec="G722/16000/1,PCMU")

    phone.wait_for("CALL_ESTABLISHED")
    until(lambda: engine.calls and len(engine.calls[0].audio) > 8000, 10, "a second of audio at the engine")

    assert f"Set audio encoder: {chosen}" in phone.process.text(), phone.process.text()[-2000:]
