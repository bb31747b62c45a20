"""A shard written: its maker, and processes that have one each."""
