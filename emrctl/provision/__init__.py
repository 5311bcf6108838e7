"""Create, update, stop, start and delete the stacks of a project: its bucket and its clusters."""
