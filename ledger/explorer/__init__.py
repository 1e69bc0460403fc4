"""The explorer: the ledger as pages for people who have never seen one. Read without JavaScript, better with it."""
