"""Difficulty of images, from predictions of models or from external scores."""
