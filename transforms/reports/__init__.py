"""HTML pages that show groupings, difficulty, evaluations and studies."""
