"""Compute the difficulty of images from model predictions or external scores."""
