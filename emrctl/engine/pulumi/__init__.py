"""Pulumi's own engine, driven through the Automation API."""
