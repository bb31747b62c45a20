"""Long attacks, run only by `make torture`; each has a short version in the tests."""
