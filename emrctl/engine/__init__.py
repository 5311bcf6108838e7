"""What turns the Pulumi program into resources: Pulumi's own engine, or the embedded one."""
