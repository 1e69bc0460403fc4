"""The round loop: what the ledger and this site's disk say decides what the site does next."""
