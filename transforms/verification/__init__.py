"""A finished dataset → what is wrong with it: independent checks, and readers as users.

A check is a generator: it yields every mismatch as a sentence, and returns what it saw.
"""
