"""Verify a finished dataset with independent checks and with users' readers.

A check is a generator: it yields a sentence per mismatch and returns a summary.
"""
