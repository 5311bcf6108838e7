"""The Spark properties that make runs repeats of one configuration, or tell them apart."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Spark writes these itself, or they only say where something is: they differ between repeats.
_UNRELATED = re.compile(
    r"""spark\.(
        app\.(id|name|attempt\.id|startTime|submitTime|initial\..*)
      | executor\.id | driver\.(host|port|appUIAddress|bindAddress|pod\.name)
      | blockManager\.port | fileserver\.uri | tachyonStore\.folderName | externalBlockStore\..*
      | home | version | logConf | redaction\..* | repl\..* | ui\..* | history\..*
      | eventLog\.(dir|overwrite|usexattr|rolling.*|logBlockUpdates.*) | org\.apache\.hadoop\..*
      | yarn\.(tags|app\..*|cache\..*|stagingDir|historyServer\..*|config\..*|credentials\..*)
      | yarn\.(keytab|principal|includeDriverLogsLink|maxAppAttempts|secondary\.jars|isPython)
      | kubernetes\..*(name|Name|namePrefix|NamePrefix|namespace|label\..*|annotation\..*)
      | databricks\.(clusterUsageTags|sparkContextId|credential|env|.*\.id|.*Id)\b.*
      | authenticate.* | ssl\..* | .*(acls?|acl\.enable|keytab|principal|[Dd]irs?|logDirectory|pid)
    )""",
    re.VERBOSE,
)
# Names of one application, cluster, machine or moment.
_VOLATILE = re.compile(
    r"""application_\d{13}_\d+ | app-\d{14}-\d{4} | local-\d{13} | \bj-[A-Z0-9]{10,}
      | \bip-\d+-\d+-\d+-\d+ | \b\d+\.\d+\.\d+\.\d+:\d+ | ://[^/\s]+:\d+ | emrctl-\d{8}-
      | [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12} | /tmp/[^\s,:]*
    """,
    re.VERBOSE,
)


def configuration(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the Spark properties of an application that configure it.

    These are all properties except those that differ between repeats: ids, addresses, folders of
    logs and temporary files, tags, names. Such parts of other values are replaced by `…`.
    """
    return {
        name: _VOLATILE.sub("…", value)
        for name, value in environment.items()
        if value and name.startswith("spark.") and not _UNRELATED.fullmatch(name)
    }
