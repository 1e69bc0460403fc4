"""The auditors' service: the whole ledger over HTTP, to be read and not to be written."""
