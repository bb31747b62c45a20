"""Grouping methods: one module per method, named as the flag's value."""
