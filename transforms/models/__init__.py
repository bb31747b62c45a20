"""Trained models: cards, loaders for each file format, and inference on images."""
