"""Recordings: reading, writing, and whether one is heard in another. Samples are float64 of 16 bit range at 8,000 Hz."""

import pathlib
import wave

import numpy as np

RATE = 8000
FIXTURES = pathlib.Path(__file__).resolve().parents[3] / "fixtures" / "audio"


def speech_codes(name):
    """A recording of fixtures/audio as it stands in the file: mu-law, a byte a sample."""
    data = (FIXTURES / f"{name}.wav").read_bytes()
    at = data.index(b"data")
    size = int.from_bytes(data[at + 4:at + 8], "little")
    return data[at + 8:at + 8 + size]


def speech(name):
    """A recording of fixtures/audio, decoded (ITU-T G.711)."""
    codes = ~np.frombuffer(speech_codes(name), np.uint8)
    magnitude = ((((codes & 0x0F).astype(int) << 3) + 0x84) << ((codes & 0x70) >> 4)) - 0x84
    return np.where(codes & 0x80, -magnitude, magnitude).astype(float)


def write(path, samples, rate=RATE):
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.asarray(samples).astype("<i2").tobytes())


def read(path, rate=None):
    """What has been written of a recording so far: its header may not be finished. Its channels are mixed, and with `rate`
    it is as many samples a second as that."""
    data = pathlib.Path(path).read_bytes()
    at = data.index(b"data") + 8
    channels, own = int.from_bytes(data[22:24], "little"), int.from_bytes(data[24:28], "little")
    samples = np.frombuffer(data[at:len(data) - (len(data) - at) % (2 * channels)], "<i2").astype(float)
    samples = samples.reshape(-1, channels).mean(axis=1)
    if rate in (None, own) or not len(samples):
        return samples
    length = len(samples) * rate // own
    spectrum = np.fft.rfft(samples)[:length // 2 + 1]
    return np.fft.irfft(spectrum, length) * length / len(samples)


def silence(seconds):
    return np.zeros(int(RATE * seconds))


def find(needle, hay):
    """The best place of `needle` in `hay`: normalised correlation there (1 is the same) and its sample."""
    scores = likeness(needle, hay)
    at = int(np.argmax(scores))
    return float(scores[at]), at


def likeness(needle, hay):
    """The normalised correlation of `needle` with each place of `hay`."""
    if len(hay) < len(needle):
        hay = np.concatenate([hay, np.zeros(len(needle) - len(hay))])
    size = 1 << (len(hay) + len(needle)).bit_length()
    products = np.fft.irfft(np.fft.rfft(hay, size) * np.conj(np.fft.rfft(needle, size)), size)
    products = products[:len(hay) - len(needle) + 1]
    energy = np.concatenate([[0], np.cumsum(hay ** 2)])
    windows = energy[len(needle):] - energy[:len(energy) - len(needle)]
    return products / (np.linalg.norm(needle) * np.sqrt(np.maximum(windows, 1)))


def pieces_heard(said, heard, length=4000):
    """The best correlation of each audible piece of `said`, wherever it is heard."""
    return np.array([find(piece, heard)[0] for piece in audible_pieces(said, length)])


def pieces_heard_at_any_phase(said, heard, length=4000):
    """As `pieces_heard`, for codecs that delay by parts of a sample: near half the rate that turns a wave by up to a quarter, and
    what is the same sounds the same. The piece and the piece turned by a quarter, at one place, are the sides of a triangle."""
    return np.array([np.hypot(likeness(piece, heard), likeness(turned(piece), heard)).max()
                     for piece in audible_pieces(said, length)])


def turned(piece):
    """Every sine of it a quarter of its period later: the Hilbert transform."""
    spectrum = np.fft.rfft(piece) * -1j
    spectrum[0] = 0
    return np.fft.irfft(spectrum, len(piece))


def audible_pieces(said, length):
    pieces = [said[at:at + length] for at in range(0, len(said) - length, length)]
    audible = [piece for piece in pieces if np.abs(piece).max() > 2000]
    assert len(audible) >= 5
    return audible


def loud(samples, threshold=500):
    """Where speech is: the first and last sample above `threshold`, in seconds; nothing when there is none."""
    places = np.flatnonzero(np.abs(samples) > threshold)
    return (places[0] / RATE, places[-1] / RATE) if len(places) else None


def seconds_of_sound(samples, threshold=500):
    """How long it was not silent, all together; the zeros of a tone are no silence."""
    return np.count_nonzero(np.convolve(np.abs(samples) > threshold, np.ones(20), "same")) / RATE
