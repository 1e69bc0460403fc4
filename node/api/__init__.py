"""The operator's HTTP interface of a running site: what it does, health, metrics, consent, pause and stop."""
