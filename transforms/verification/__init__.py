"""Verify a finished dataset with independent checks and with common dataset readers.

A check is a generator that yields one message per problem and returns a summary.
"""
