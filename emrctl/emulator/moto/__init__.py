"""What emrctl changes and adds to moto's services."""
