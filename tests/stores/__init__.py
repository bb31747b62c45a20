"""Stores for tests: emulators, and a server with injected faults."""
