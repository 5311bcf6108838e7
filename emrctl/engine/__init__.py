"""Engines that evaluate the Pulumi program: Pulumi's own and the embedded one."""
