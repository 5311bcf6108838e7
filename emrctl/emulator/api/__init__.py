"""EMR's API: operations, their validation and responses."""
