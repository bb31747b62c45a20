"""Grouping methods: one module a method, named as the flag's value."""
