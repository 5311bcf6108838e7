"""Connections to a cluster's nodes and web pages.

Three methods, tried in this order:

1. `ssh`: paramiko, if the private key of the cluster's key pair is on this machine and port 22
   answers. Host keys are verified against the node's console output.
2. `ssm`: Session Manager, if its plugin is on PATH and the node's agent is online.
3. `emr`: a presigned URL of EMR, for pages only; runs nothing on this machine.
"""

import logging

# paramiko raises what it logs, and emrctl reports the exception.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
