"""The data's way, find → label → sample → assign → write, and the plain Python in it."""

__version__ = "0.1.0"
