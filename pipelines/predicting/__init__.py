"""What the job `predict` is made of: what it checks, and what it leaves behind."""
