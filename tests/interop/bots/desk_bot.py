"""A bot for Pipecat's own development runner that hands its callers over when they have spoken: by the edge's REST API.

    python desk_bot.py -t twilio --host 127.0.0.1 --port 7860

Whenever it has a call it says its sentence. When the caller has spoken for a while, it asks for a human, once a call. All that
it hears is kept, a file for each time it had the call. What happens is printed, one JSON object a line.
"""

import asyncio
import json
import os
import pathlib
import time
import urllib.request
import wave

import numpy as np
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

RATE = 8000
# So much speech is a request.
ENOUGH_SECONDS = 1.5
DESK = json.loads(os.environ["DESK"])

# How often each call was here.
visits = {}


class Call:
    """One call, this time."""

    def __init__(self, told):
        self.stream_sid, self.id = told["stream_id"], told["body"]["call_id"]
        self.visit = visits[self.id] = visits.get(self.id, 0) + 1
        self.spoken, self.asked, self.heard = 0.0, False, bytearray()

    def tell(self, what, **more):
        print(json.dumps({"bot": what, "call_id": self.id, "visit": self.visit, "at": time.monotonic(), **more}), flush=True)

    def ask_for_human(self):
        token = pathlib.Path(DESK["token_file"]).read_text()
        body = {"call_id": self.id, "to": {"sip_uri": DESK["human"]}, "style": "bridge", "announce": "briefing",
                "reason": "asked for a human"}
        request = urllib.request.Request(
            f"{DESK['api']}/api/integrations/providers/sip-main/transfer", json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}, method="POST")
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status

    def keep(self):
        with wave.open(str(pathlib.Path(DESK["heard"]) / f"bot-{self.visit}.wav"), "wb") as out:
            out.setparams((1, 2, RATE, 0, "NONE", None))
            out.writeframes(bytes(self.heard))


class Desk(FrameProcessor):
    def __init__(self, call):
        super().__init__()
        self.call = call

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.listen(frame.audio)
        else:
            await self.push_frame(frame, direction)

    async def say(self):
        with wave.open(DESK["sentence"]) as sentence:
            audio = sentence.readframes(sentence.getnframes())
        await self.push_frame(OutputAudioRawFrame(audio=audio, sample_rate=RATE, num_channels=1))

    async def listen(self, audio):
        call = self.call
        call.heard += audio
        samples = np.frombuffer(audio, "<i2")
        if len(samples) and np.abs(samples).max() > 2000:
            call.spoken += len(samples) / RATE
        if call.spoken > ENOUGH_SECONDS and call.visit == 1 and not call.asked:
            call.asked = True
            call.tell("asks", status=await asyncio.to_thread(call.ask_for_human))


async def bot(runner_args):
    _, told = await parse_telephony_websocket(runner_args.websocket)
    call = Call(told)
    call.tell("call")
    # Hanging up at Twilio's own API is not for this call; the socket's end ends it.
    serializer = TwilioFrameSerializer(
        stream_sid=call.stream_sid, params=TwilioFrameSerializer.InputParams(auto_hang_up=False))
    transport = FastAPIWebsocketTransport(
        websocket=runner_args.websocket,
        params=FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer),
    )
    desk = Desk(call)
    rates = PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE)
    worker = PipelineWorker(Pipeline([transport.input(), desk, transport.output()]), params=rates)

    @transport.event_handler("on_client_connected")
    async def on_client_connected(*_):
        await desk.say()

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(*_):
        call.keep()
        call.tell("disconnected")
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
