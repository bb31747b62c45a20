"""How well groups of classes keep the ranking of models."""
