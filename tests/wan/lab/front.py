"""A door to the development chain for other machines of a lab: python front.py ADDRESS PORT

The chain serves programs of its own machine only, by the name they call it by. This does what a gateway in front of a
hospital's Ethereum node would: it takes requests under its own address and hands them on under the name expected.
"""

import asyncio
import sys

HEAD_BYTES = 1 << 16


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
    """Hand requests on, each with another Host."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        fields = [line for line in lines if not line.lower().startswith(b"host:")]
        writer.write(b"\r\n".join([fields[0], f"Host: {host}".encode(), *fields[1:]]))
        length = next((int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0)
        writer.write(await reader.readexactly(length))
        await writer.drain()


async def backward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand answers on as they are."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def serve(address: str, port: int) -> None:
    """Serve until killed."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        ways = [asyncio.ensure_future(forward(reader, ours, f"127.0.0.1:{port}"))]
        ways.append(asyncio.ensure_future(backward(theirs, writer)))
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        ours.close()
        writer.close()

    server = await asyncio.start_server(connected, address, port, limit=HEAD_BYTES)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
