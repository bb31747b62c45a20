"""The index of all images: one row an image, without its bytes."""
