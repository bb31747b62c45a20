"""Compare model rankings on the full set and on subsets."""
