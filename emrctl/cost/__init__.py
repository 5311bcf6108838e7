"""Prices of clusters, runs and single resources."""
