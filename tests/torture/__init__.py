"""Long attacks, run by `make torture` only; each has a short sibling in the tests."""
