"""Trained models: their cards, how they are loaded, and what they say of images."""
