"""The command line: one file per noun, nothing heavy at start-up."""
