"""Implement the build job: options, planning, output folder and reports."""
