"""A TCP port of ours that leads to anvil's, so that nobody talks to anvil before its chain is whole again."""

import socket
import threading
from contextlib import suppress

from ledger.errors import DevnetError

_READ_BYTES = 1 << 16


class Relay:
    """Listens on a loopback port for as long as it lives and carries bytes both ways while it is open."""

    def __init__(self, port: int) -> None:
        """Take the port, 0 for any that is free; raises DevnetError where it is in use."""
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind(("127.0.0.1", port))
            self._listener.listen(128)
        except OSError as error:
            self._listener.close()
            raise DevnetError(f"port {port} can't be used for the devnet: {error.strerror}; choose another") from error
        self.port: int = self._listener.getsockname()[1]
        self._target: int | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="devnet-relay", daemon=True).start()

    def lead_to(self, port: int | None) -> None:
        """Lead new connections to anvil's port, or nowhere; connections that are open are closed."""
        with self._lock:
            self._target = port
            open_now, self._open = self._open, set()
        for connection in open_now:
            _shut(connection)

    def close(self) -> None:
        """Give the port back."""
        self.lead_to(None)
        _shut(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                target = self._target
            try:
                if target is None:
                    raise ConnectionRefusedError
                anvil = socket.create_connection(("127.0.0.1", target))
            except OSError:
                client.close()
                continue
            for connection in (client, anvil):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, anvil}
            for source, sink in ((client, anvil), (anvil, client)):
                threading.Thread(target=self._carry, args=(source, sink), name="devnet-relay", daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(_READ_BYTES):
                sink.sendall(part)
        _shut(sink)
        _shut(source)
        with self._lock:
            self._open.discard(source)
        source.close()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
