"""How many images each place gives, which come first, and how shards are cut."""
