"""Read tar, zip and TFRecord files by the positions of their members."""
