"""Grouping methods: one module per method, named after the value of `--grouping`."""
