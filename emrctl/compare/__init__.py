"""Arithmetic over runs: records in, records out."""
