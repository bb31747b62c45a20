"""What takes too long for a test: run by hand, and told in docs/scale.md."""
