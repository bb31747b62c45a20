"""The bytes of a picture → a finished JPEG of the size asked for."""
