"""Pipecat's development runner with a bot of ours, as its users start it."""

import json
import os
import pathlib
import socket
import sys

from .processes import Process
from .waiting import until

BOTS = pathlib.Path(__file__).resolve().parents[1] / "bots"


class Runner:
    def __init__(self, directory, bot="echo_bot.py", env=None):
        directory.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, BOTS / bot, "-t", "twilio", "--host", "127.0.0.1", "--port", self.port]
        self.process = Process(command, directory / "runner.log", cwd=directory, env={**os.environ, **(env or {})})
        # Importing Pipecat takes seconds, on a busy machine many.
        until(lambda: "Uvicorn running" in self.process.text() or not self.process.is_running(), 90, "the runner's start")
        assert self.process.is_running(), self.process.text()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/ws"

    def told(self, what, call=None):
        """What bots said of that kind, of one call when it is given."""
        lines = [json.loads(line) for line in self.process.text().splitlines() if line.startswith('{"bot"')]
        return [line for line in lines if line["bot"] == what and call in (None, line["call_id"])]

    def wait_for(self, what, call=None, within=15, count=1):
        until(lambda: len(self.told(what, call)) >= count, within, f"{what} at the bot")
        return self.told(what, call)

    def end(self):
        self.process.end()
