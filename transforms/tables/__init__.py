"""Tables as plain data: index, groups, plan, manifest, and their counts."""
