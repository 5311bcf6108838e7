"""Engines that evaluate the Pulumi program: Pulumi's own and the embedded one.

`provision/stacks.py` chooses the engine of a stack; the target lists those that it supports.
"""
