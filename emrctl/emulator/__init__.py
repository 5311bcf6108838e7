"""The EMR on localhost: moto's AWS, what moto lacks of EMR, and clusters that really run Spark."""
