"""The command line: `swarm-node`."""

from node.cli.main import main

__all__ = ["main"]
