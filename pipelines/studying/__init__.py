"""Plan and run the study job: recipes, estimates, steps and results."""
