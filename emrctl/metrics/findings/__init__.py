"""Findings: diagnoses of a run, each with evidence and advice."""
