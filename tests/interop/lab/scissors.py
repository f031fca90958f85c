"""Carries bytes between the edge and an engine, and cuts the connection when it is told to: what is under way is lost."""

import asyncio
import socket
import struct
import threading

ABORT = struct.pack("ii", 1, 0)


class Scissors:
    """Stands where the engine is dialled."""

    def __init__(self, engine_port):
        self.connections, self.loop = {}, asyncio.new_event_loop()
        self.engine_port, listening = engine_port, threading.Event()

        async def listen():
            self.server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
            self.port = self.server.sockets[0].getsockname()[1]
            listening.set()

        self.loop.create_task(listen())
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        listening.wait()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/"

    def cut(self, local_port):
        """Resets both ends of the connection that the engine sees as coming from `local_port`."""
        self.loop.call_soon_threadsafe(self._cut, local_port)

    def end(self):
        self.loop.call_soon_threadsafe(self.loop.stop)

    def _cut(self, local_port):
        for writer in self.connections.pop(local_port, ()):
            if not writer.transport.is_closing():
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                writer.transport.abort()

    async def _carry(self, reader, writer):
        engine_reader, engine_writer = await asyncio.open_connection("127.0.0.1", self.engine_port)
        port = engine_writer.get_extra_info("sockname")[1]
        for each in (writer, engine_writer):
            each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections[port] = writer, engine_writer
        await asyncio.gather(self._pump(reader, engine_writer), self._pump(engine_reader, writer))

    async def _pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            """Cut."""
        if not writer.transport.is_closing():
            writer.close()
