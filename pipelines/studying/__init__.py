"""The study job's parts: recipes, what they cost, the steps, and what came of them."""
