"""What can go wrong with a measurement."""


class BenchmarkFailed(Exception):
    """The measurement did not come to its end; says how far it came, and what the operator can do."""
