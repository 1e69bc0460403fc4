"""The versions that peers are told: of this software, for people, and of what sites say to each other, for programs.

The software's version rises with every release. The protocol's rises only where two sites could no longer talk: what
they send on a stream has changed. A site says which protocol it speaks and the oldest that it still understands; two
sites work together where each one's protocol is no older than the other's oldest, whatever software they run.
"""

from importlib.metadata import version

SOFTWARE = f"swarm-node/{version('swarm-learning-network')}"
PROTOCOL = 2
OLDEST_PROTOCOL = 2
