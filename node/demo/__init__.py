"""A whole swarm on one machine: for newcomers, rehearsals and tests."""
