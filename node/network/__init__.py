"""The libp2p host of a site: gated by the ledger's member list, moving blobs by hash."""
