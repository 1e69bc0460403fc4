"""What the swarm costs: `python -m benchmarks` measures rounds, the other modules say what they measure."""
