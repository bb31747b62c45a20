"""Confusion matrices of models: counted from predictions, read, written and drawn."""
