"""SIPp's built-in scenarios: many plain calls in, and a far end that takes calls."""

import shutil

from .processes import Process


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
