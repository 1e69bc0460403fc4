"""The learning: specification, canonical weights, merge rules, training, evaluation. No network, no chain."""
