"""A running site: identity, configuration, network, the round loop and the command line."""
