"""Check the inputs of the predict job and write its results."""
