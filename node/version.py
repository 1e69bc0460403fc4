"""The version of this software, as told to peers."""

from importlib.metadata import version

SOFTWARE = f"swarm-node/{version('swarm-learning-network')}"
