"""Search for the fastest or cheapest configuration of a job with few runs."""
