"""The build job's own parts: its options, its plan, its output, its words."""
