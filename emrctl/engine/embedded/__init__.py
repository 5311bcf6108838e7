"""The embedded engine: evaluates the Pulumi program in this process, for localhost only."""
