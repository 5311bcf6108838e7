"""The emulator's process: HTTP server, authentication, state file, child processes."""
