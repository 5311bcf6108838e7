"""Find and delete AWS resources that emrctl created, by their tags.

Tags are the registry, so this works on any machine. `discover` lists the resources of an account,
`classify` marks those that are expired or orphaned, `delete` removes them in dependency order.
"""

from emrctl.cleanup.deletion import Deletion, delete
from emrctl.cleanup.discovery import Discovery, all_regions, discover
from emrctl.cleanup.resources import AwsResource, Scope, Usage, classify

__all__ = [
    "AwsResource",
    "Deletion",
    "Discovery",
    "Scope",
    "Usage",
    "all_regions",
    "classify",
    "delete",
    "discover",
]
