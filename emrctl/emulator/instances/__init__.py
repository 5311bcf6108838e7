"""Emulated EC2 instances with their SSH servers."""
