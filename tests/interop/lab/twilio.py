"""Messages of Twilio Media Streams, as bots write them."""

import base64

import numpy as np


def ulaw(samples):
    """ITU-T G.711 mu-law."""
    samples = np.asarray(samples).astype(int)
    magnitude = np.minimum(np.abs(samples), 32635) + 0x84
    exponent = np.floor(np.log2(magnitude)).astype(int) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return (~((samples < 0) << 7 | exponent << 4 | mantissa) & 0xFF).astype(np.uint8).tobytes()


def media(stream, audio):
    return {"event": "media", "streamSid": stream, "media": {"payload": base64.b64encode(audio).decode()}}


def mark(stream, name):
    return {"event": "mark", "streamSid": stream, "mark": {"name": name}}


def clear(stream):
    return {"event": "clear", "streamSid": stream}
