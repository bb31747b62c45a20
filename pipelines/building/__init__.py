"""Implement the build job: options, planning, output directory and reports."""
