"""Links between namespaces in user space: packets from one TUN device to another, late, at a rate, and not all of them.

Started by `links.py`, as root, from the standard library alone; it takes one JSON object a line and answers each with
another, and ends with its input, its devices with it. One thread does everything, so that nothing is out of order:
a link never reorders packets.
"""

import ctypes
import fcntl
import json
import os
import random
import select
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
PACKET_BYTES = 2048  # more than the MTU
AT_ONCE = 64  # packets that are read before anything else happens
SOON = 0.0005  # epoll counts in milliseconds

_libc = ctypes.CDLL(None, use_errno=True)


def open_tun(namespace: str, device: str) -> int:
    """Make a TUN device in a namespace; it lasts as long as the descriptor."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _enter(there)
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
        return tun
    finally:
        _enter(home)
        os.close(home)
        os.close(there)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Way:
    """One direction of a link: what it does to packets, and those on their way."""

    def __init__(self, source: int, sink: int, seed: int) -> None:
        self.source = source
        self.sink = sink
        self.delay = self.jitter = self.loss = self.queue = 0.0
        self.seconds_per_byte = 0.0
        self.on_the_way: deque[tuple[float, bytes]] = deque()
        self.packets = self.bytes = self.lost = self.full = 0
        self._free = 0.0  # when the last byte so far has left the sender
        self._last = 0.0  # when the last packet so far arrives
        self._random = random.Random(seed)

    def shape(self, delay: float, jitter: float, loss: float, bytes_per_second: float, queue: float) -> None:
        """Seconds, a probability, and seconds that a byte may wait for those before it."""
        self.delay, self.jitter, self.loss, self.queue = delay, jitter, loss, queue
        self.seconds_per_byte = 1 / bytes_per_second if bytes_per_second else 0.0

    def take(self) -> None:
        """Accept what the source holds."""
        for _ in range(AT_ONCE):
            try:
                packet = os.read(self.source, PACKET_BYTES)
            except BlockingIOError:
                return
            self._accept(packet, time.monotonic())

    def _accept(self, packet: bytes, now: float) -> None:
        if self.loss and self._random.random() < self.loss:
            self.lost += 1
            return
        left = now
        if self.seconds_per_byte:
            if self._free - now > self.queue:
                self.full += 1
                return
            left = self._free = max(now, self._free) + len(packet) * self.seconds_per_byte
        due = left + self.delay + (self._random.uniform(0, self.jitter) if self.jitter else 0.0)
        self._last = max(due, self._last)
        if self._last <= now and not self.on_the_way:
            self._deliver(packet)
        else:
            self.on_the_way.append((self._last, packet))

    def give(self, now: float) -> float | None:
        """Deliver what is due; gives the time at which the next packet is."""
        packets = self.on_the_way
        until = now + SOON
        while packets and packets[0][0] <= until:
            self._deliver(packets.popleft()[1])
        return packets[0][0] if packets else None

    def _deliver(self, packet: bytes) -> None:
        try:
            os.write(self.sink, packet)
        except OSError:  # the other end's device is down or full: one more packet lost
            self.lost += 1
            return
        self.packets += 1
        self.bytes += len(packet)

    def counters(self) -> dict[str, int]:
        return {"packets": self.packets, "bytes": self.bytes, "lost": self.lost, "full": self.full}


class Links:
    """All links, and the loop that works them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._links: dict[str, tuple[Way, Way]] = {}
        self._ways: dict[int, Way] = {}
        self._epoll = select.epoll()

    def run(self, command: int, obey: Callable[[bytes], None]) -> None:
        """Forward packets until the input of commands ends."""
        self._epoll.register(command, select.EPOLLIN)
        due: float | None = None
        while True:
            wait = -1.0 if due is None else max(0.0, due - time.monotonic())
            for ready, _ in self._epoll.poll(wait):
                if ready != command:
                    self._ways[ready].take()
                    continue
                data = os.read(command, 1 << 16)
                if not data:
                    return
                obey(data)
            now = time.monotonic()
            dues = [when for way in self._ways.values() if (when := way.give(now)) is not None]
            due = min(dues, default=None)

    def do_add(self, link: str, inner: list[str], outer: list[str]) -> dict[str, Any]:
        """Make a link between two devices, each named by namespace and name."""
        one, other = open_tun(*inner), open_tun(*outer)
        self._seed += 2
        ways = Way(one, other, self._seed), Way(other, one, self._seed + 1)
        self._links[link] = ways
        for way in ways:
            self._ways[way.source] = way
            self._epoll.register(way.source, select.EPOLLIN)
        return {}

    def do_shape(self, link: str, **shape: float) -> dict[str, Any]:
        """Change what a link does, both ways."""
        for way in self._links[link]:
            way.shape(**shape)
        return {}

    def do_count(self, link: str) -> dict[str, Any]:
        """Give what a link has done so far."""
        up, down = self._links[link]
        return {"up": up.counters(), "down": down.counters(), "cpu_seconds": time.process_time()}


def main() -> None:
    links = Links(int(sys.argv[1]))
    held = bytearray()

    def obey(data: bytes) -> None:
        held.extend(data)
        *lines, rest = held.split(b"\n")
        held[:] = rest
        for line in lines:
            order: dict[str, Any] = json.loads(line)
            verb = order.pop("do")
            try:
                answer = {"add": links.do_add, "shape": links.do_shape, "count": links.do_count}[verb](**order)
            except OSError as error:
                answer = {"error": str(error)}
            os.write(1, json.dumps(answer).encode() + b"\n")

    links.run(0, obey)


if __name__ == "__main__":
    main()
