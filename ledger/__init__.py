"""Everything that speaks to the chain. No torch, no libp2p."""
