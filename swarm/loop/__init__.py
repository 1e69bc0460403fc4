"""A training loop that somebody already has takes part in a study: `swarm.loop.callback`, `swarm.loop.lightning`.

Nothing is imported here: the node reads `swarm.loop.meeting` and needs no torch for it.
"""
