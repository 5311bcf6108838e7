"""An emulated EMR cluster: its states, bootstrap actions, steps, nodes and logs."""
