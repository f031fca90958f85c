"""Programs of other people and our own, started and ended by their own id."""

import signal
import subprocess


class Process:
    """A program that runs; what it writes goes to a file."""

    def __init__(self, command, log, cwd=None, env=None):
        self.log = log
        with open(log, "ab") as out:
            self.running = subprocess.Popen(
                [str(part) for part in command], cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )

    def text(self):
        return self.log.read_text(errors="replace")

    def is_running(self):
        return self.running.poll() is None

    def signal(self, number):
        if self.is_running():
            self.running.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.running.wait(10)

    def end(self, within=10):
        """Asks it to end, and makes it when it does not."""
        self.signal(signal.SIGTERM)
        try:
            return self.running.wait(within)
        except subprocess.TimeoutExpired:
            return self.kill()
