"""Find and delete AWS resources that emrctl created, by their tags.

Clusters also terminate themselves: EMR after `idle_timeout_s` (`stacks/emr.py`), both kinds after
`ttl_s` (`bootstrap/ttl.sh`, a bootstrap action on EMR, installed by `standalone/setup.py` on EC2).
`emrctl gc` deletes what is left. Tags are the registry, so it works on any machine: `discover`
lists the resources of an account, `classify` marks those that are expired or orphaned, and
`delete` removes them in dependency order.
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
