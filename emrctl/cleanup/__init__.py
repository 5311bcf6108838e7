"""Nothing forgotten: what emrctl made on an account, what of it is used, and the end of the rest.

Tags are the registry, so that a second laptop sees what the first one made. `look` asks AWS,
`judge` says what has expired or belongs to nobody any more, `end` takes that away in the order
in which AWS lets it go.
"""

from emrctl.cleanup.delete import End, end
from emrctl.cleanup.discover import Look, all_regions, look
from emrctl.cleanup.resources import Scope, Thing, Verdict, judge

__all__ = ["End", "Look", "Scope", "Thing", "Verdict", "all_regions", "end", "judge", "look"]
