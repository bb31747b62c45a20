"""Samplers: one module a sampler, named as the flag's value."""
