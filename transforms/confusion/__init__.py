"""Which classes models take for each other: counted, read, written and drawn."""
