"""Index the input: one row per image, without its bytes."""
