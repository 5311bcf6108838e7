"""The engine in this process: evaluates the program and creates resources on localhost."""
