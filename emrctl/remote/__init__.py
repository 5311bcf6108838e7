"""The way to a cluster's nodes and pages: SSH, Session Manager, or EMR's own presigned addresses.

Whichever the account allows, tried in this order:

1. `ssh`: paramiko, where the cluster has a key pair whose private half is here and port 22
   answers. Whom it speaks to is checked against the node's console output, never believed.
2. `ssm`: Session Manager, where its plugin is on PATH and the node's agent is online.
3. `emr`: an address that EMR signs, for pages only; nothing runs on this machine.
"""

import logging

# What paramiko has to say comes as an exception as well, and is told in our words.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
