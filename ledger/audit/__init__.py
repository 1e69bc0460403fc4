"""Auditing a study: rules over its record, and a bundle that proves the record to somebody who trusts no site."""
