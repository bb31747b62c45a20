"""Render HTML pages of groupings, difficulty, evaluations and studies."""
