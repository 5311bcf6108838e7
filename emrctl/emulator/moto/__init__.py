"""Changes and additions to moto's services."""
