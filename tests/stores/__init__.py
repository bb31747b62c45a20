"""Stores for tests: emulators, and one that fails when it is told to."""
