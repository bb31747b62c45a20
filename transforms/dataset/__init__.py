"""Plan a dataset, write its shards, manifest and card, and commit it."""
