"""Generators of families that are not random token skipping, and what is known of every family."""
