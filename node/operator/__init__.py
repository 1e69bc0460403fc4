"""What an operator does at a site, beside running it: one function for each deed, and no word of how it is shown."""
