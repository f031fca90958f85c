"""A bot for Pipecat's own development runner: says back what it hears, and does on keys what tests ask for.

    python echo_bot.py -t twilio --host 127.0.0.1 --port 7860

Key 5: speaks a tone of three seconds, with a mark behind it. Key *: is interrupted. Key 0: ends the call. What happens to it is
printed, one JSON object a line.
"""

import json
import time

import numpy as np
from pipecat.frames.frames import (
    EndWorkerFrame,
    InputAudioRawFrame,
    InputDTMFFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

RATE = 8000
TONE_SECONDS = 3


class Call:
    """One call, and what is told of it."""

    def __init__(self, told):
        self.stream_sid, self.call_id = told["stream_id"], told["body"]["call_id"]

    def tell(self, what, **more):
        print(json.dumps({"bot": what, "call_id": self.call_id, "at": time.monotonic(), **more}), flush=True)


class Serializer(TwilioFrameSerializer):
    """Pipecat's own; it throws away what is neither audio nor a key, and the tests want to know of it."""

    def __init__(self, call):
        # Hanging up at Twilio's own API is not for this call; the socket's end ends it.
        super().__init__(stream_sid=call.stream_sid, params=self.InputParams(auto_hang_up=False))
        self.call = call

    async def deserialize(self, data):
        message = json.loads(data)
        if message["event"] not in ("media", "dtmf"):
            self.call.tell("message", message=message)
        return await super().deserialize(data)


class Echo(FrameProcessor):
    def __init__(self, call):
        super().__init__()
        self.call = call

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.say(frame.audio)
        elif isinstance(frame, InputDTMFFrame):
            self.call.tell("key", key=frame.button.value)
            await self.do(frame.button.value)
        else:
            await self.push_frame(frame, direction)

    async def say(self, audio):
        await self.push_frame(OutputAudioRawFrame(audio=audio, sample_rate=RATE, num_channels=1))

    async def do(self, key):
        if key == "5":
            seconds = np.arange(RATE * TONE_SECONDS) / RATE
            await self.say((8000 * np.sin(2 * np.pi * 440 * seconds)).astype("<i2").tobytes())
            mark = {"event": "mark", "streamSid": self.call.stream_sid, "mark": {"name": "tone"}}
            await self.push_frame(OutputTransportMessageFrame(message=mark))
        elif key == "*":
            await self.broadcast_interruption()
        elif key == "0":
            await self.push_frame(EndWorkerFrame())


async def bot(runner_args):
    kind, told = await parse_telephony_websocket(runner_args.websocket)
    call = Call(told)
    call.tell("call", kind=kind, told=dict(told))
    transport = FastAPIWebsocketTransport(
        websocket=runner_args.websocket,
        params=FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=Serializer(call)),
    )
    rates = PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE)
    worker = PipelineWorker(Pipeline([transport.input(), Echo(call), transport.output()]), params=rates)

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(*_):
        call.tell("disconnected")
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    call.tell("done")


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
