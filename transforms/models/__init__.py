"""Describe trained models with cards, load their files, and run them on images."""
