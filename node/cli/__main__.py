"""`python -m node.cli` is `swarm-node`."""

from node.cli import main

main()
