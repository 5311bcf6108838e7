"""Time and cost of a run at other numbers of executors."""
