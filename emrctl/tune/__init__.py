"""Search for the fastest or cheapest configuration of a job with few runs."""

from enum import StrEnum


class Goal(StrEnum):
    """What is minimised; `both` looks for the configurations that none is better than in both."""

    time = "time"
    cost = "cost"
    both = "both"
