"""An echo engine for edge.v1: takes every call and says back what it hears.

    pip install websockets
    python edge_v1_echo.py [port]
"""

import asyncio
import json
import struct
import sys

from websockets.asyncio.server import serve

HEADER = struct.Struct(">BBBBIII")  # kind, track, flags, codec, seq, media time, capture or segment
AUDIO, FROM_CALLER, FROM_ENGINE = 1, 0, 2


async def take_call(socket):
    segment, seq = 1, 0

    async def say(type, **fields):
        await socket.send(json.dumps({"type": type, **fields}))

    async for message in socket:
        if isinstance(message, bytes):
            kind, track, _, codec, _, media_time, _ = HEADER.unpack_from(message)
            if kind == AUDIO and track == FROM_CALLER:
                header = HEADER.pack(AUDIO, FROM_ENGINE, 0, codec, seq, media_time, segment)
                await socket.send(header + message[HEADER.size :])
                seq += 1
            continue
        message = json.loads(message)
        match message["type"]:
            case "start":
                print("call", message["call_id"], "from", message["from"])
                await say("accept", id="a1")
            case "answered":
                await say("mark", name="hello")
            case "dtmf" if message["digit"] == "*":  # barge in on ourselves
                print("digit *")
                await say("clear", id="c1")
                segment += 1  # what was cleared stays silent
            case "dtmf":
                print("digit", message["digit"])
                await say("mark", name="digit " + message["digit"])
            case "mark" | "cleared" | "error" | "stop":
                print(json.dumps(message))


async def main():
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    async with serve(take_call, "127.0.0.1", port, subprotocols=["edge.v1"]) as server:
        print("listening on", port, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
