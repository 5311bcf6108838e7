"""emrctl: Spark clusters on AWS as code, and a record of what every run on them did."""

__version__ = "0.1.0"
