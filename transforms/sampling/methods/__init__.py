"""Samplers: one module per sampler, named after the value of `--sampling`."""
