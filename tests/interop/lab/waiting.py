"""Waiting for something that happens elsewhere: with a deadline, never for a fixed time."""

import time


def until(condition, within=10.0, what="it", every=0.02):
    """What `condition` gives once that is true; a failure that names `what` when it is late."""
    deadline = time.monotonic() + within
    while True:
        outcome = condition()
        if outcome:
            return outcome
        assert time.monotonic() < deadline, f"{what} did not happen within {within} s"
        time.sleep(every)
