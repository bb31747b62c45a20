"""The data's way, find → label → sample → assign → write, and its plain Python."""

__version__ = "0.1.0"
