"""What must be replaced inside py-libp2p 0.8.1 itself, because it can't be injected. The host applies it on import.

Everything else is by subclass: tcp.py, gate.py, muxer.py, swarm.py. Each line here and there has a test in
tests/network/test_hardening.py that shows what happens without it.
"""

import logging
import os
import socket

import trio
from libp2p.exceptions import ParseError
from libp2p.io.exceptions import IOException
from libp2p.protocol_muxer import generic_selector
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.stream_muxer.yamux import yamux
from libp2p.transport.tcp import tcp
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from node.network.muxer import SturdyStream

MAX_LINE_BYTES = 1024


class BoundedCommunicator(MultiselectCommunicator):  # type: ignore[misc]
    """Protocol negotiation that reads short lines of UTF-8.

    The library's reads as many bytes as the other side announces, before that side has proved who it is, and lets a
    decoding error through that ends the whole host.
    """

    async def read(self) -> str:
        """One line; raises MultiselectCommunicatorError where it isn't one."""
        try:
            line = await read_varint_prefixed_bytes_limited(self.read_writer, MAX_LINE_BYTES)
            if not line.endswith(b"\n"):
                raise ParseError("no end of line")
            return bytes(line[:-1]).decode()
        except (ParseError, IOException, ValueError) as error:
            raise MultiselectCommunicatorError("not a line of the protocol negotiation") from error


def reuse_address_only(sock: trio.socket.SocketType) -> None:
    """Take over a port that nobody listens on any more.

    The library sets SO_REUSEPORT too, with which two nodes on one machine listen on one port, and neither hears of it.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def not_from_libp2p(record: logging.LogRecord) -> bool:
    """Whether a record of the root logger comes from anything else than libp2p, which logs there too."""
    return f"{os.sep}libp2p{os.sep}" not in record.pathname


def apply() -> None:
    """Make the replacements; more than once does no harm."""
    yamux.YamuxStream = SturdyStream
    generic_selector.MultiselectCommunicator = BoundedCommunicator
    tcp._set_reuse_flags = reuse_address_only
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("libp2p."):
            logging.getLogger(name).setLevel(logging.NOTSET)  # some set a level of their own
    logging.getLogger().addFilter(not_from_libp2p)
