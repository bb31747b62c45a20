"""One runnable job a file: parse → wire → run."""
