"""Look up classes, labels and WordNet data; SOURCES.md lists the tables' sources."""
