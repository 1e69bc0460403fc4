"""The file that an auditor is given: what is in it, how it is written, and how it is read without trusting it."""
