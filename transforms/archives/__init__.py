"""List the members of tar, zip and TFRecord files with their byte positions."""
