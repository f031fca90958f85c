"""edge.v1 as docs/engine has it: messages by their schemas, frames by the table of their header."""

import json
import pathlib
import struct

from jsonschema import Draft202012Validator

ENGINE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "engine"
HEADER = struct.Struct(">BBBBIII")
CODECS = {"pcmu": 0, "pcma": 1, "l16_8k": 2, "l16_16k": 3, "l16_24k": 4}
FIELDS = ["kind", "track", "flags", "codec", "seq", "media_time"]


def schemas(direction):
    """`type` to validator, of the messages that go to `engine` or to `edge`."""
    validators = {}
    for path in sorted((ENGINE / "schemas").glob(f"to-{direction}.*.json")):
        schema = json.loads(path.read_text())
        Draft202012Validator.check_schema(schema)
        validators[path.name.split(".")[1]] = Draft202012Validator(schema)
    return validators


TO_ENGINE, TO_EDGE = schemas("engine"), schemas("edge")


def check_message(message, validators):
    """A message as JSON text; its type."""
    message = json.loads(message)
    assert message["type"] in validators, f"no schema for {message}"
    errors = [error.message for error in validators[message["type"]].iter_errors(message)]
    assert not errors, f"{message}: {errors}"
    return message["type"]


def read_frame(data):
    """The header's fields by the names of the golden vectors, and the audio."""
    *fields, last = HEADER.unpack_from(data)
    frame = dict(zip(FIELDS, fields))
    frame["codec"] = next(name for name, code in CODECS.items() if code == frame["codec"])
    frame["capture_ms" if frame["track"] in (0, 1) else "segment"] = last
    return frame, data[HEADER.size:]


def vectors():
    """Every golden frame: what it says, and its bytes."""
    for path in sorted((ENGINE / "vectors").glob("*.json")):
        told = json.loads(path.read_text())
        assert bytes.fromhex(told["bytes_hex"]) == path.with_suffix(".bin").read_bytes(), path.name
        yield path.stem, told
