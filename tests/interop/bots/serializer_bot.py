"""A Pipecat bot that says back what it hears, through one of Pipecat's own serializers.

    python serializer_bot.py telnyx 7861
"""

import sys

import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

NAME, PORT = sys.argv[1], int(sys.argv[2])
RATE = 16000 if NAME in ("vonage", "protobuf") else 8000


def serializer():
    """As a user makes it; none may hang up at the carrier's own API."""
    if NAME == "telnyx":
        from pipecat.serializers.telnyx import TelnyxFrameSerializer
        return TelnyxFrameSerializer("stream", "PCMU", "PCMU", params=TelnyxFrameSerializer.InputParams(auto_hang_up=False))
    if NAME == "plivo":
        from pipecat.serializers.plivo import PlivoFrameSerializer
        return PlivoFrameSerializer("stream", params=PlivoFrameSerializer.InputParams(auto_hang_up=False))
    if NAME == "exotel":
        from pipecat.serializers.exotel import ExotelFrameSerializer
        return ExotelFrameSerializer("stream")
    if NAME == "vonage":
        from pipecat.serializers.vonage import VonageFrameSerializer
        return VonageFrameSerializer()
    from pipecat.serializers.protobuf import ProtobufFrameSerializer
    return ProtobufFrameSerializer()


class Echo(FrameProcessor):
    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            said = OutputAudioRawFrame(audio=frame.audio, sample_rate=frame.sample_rate, num_channels=1)
            await self.push_frame(said)
        else:
            await self.push_frame(frame, direction)


app = FastAPI()


@app.websocket("/ws")
async def call(websocket: WebSocket):
    await websocket.accept()
    params = FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer())
    if NAME == "vonage":
        params.fixed_audio_packet_size = 640
    transport = FastAPIWebsocketTransport(websocket=websocket, params=params)
    rates = PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE)
    worker = PipelineWorker(Pipeline([transport.input(), Echo(), transport.output()]), params=rates)

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(*_):
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="info")
