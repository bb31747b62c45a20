"""Parts of the study job: recipes, estimates, steps and results."""
