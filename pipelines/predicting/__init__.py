"""Parts of the predict job: checks before it starts, and its results."""
