"""Datasets: plan, shards, manifest, card and commit."""
