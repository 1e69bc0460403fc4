"""What proves that events are a chain's: headers, receipts, transactions, and that none is missing."""
