"""How a step reaches Spark."""
