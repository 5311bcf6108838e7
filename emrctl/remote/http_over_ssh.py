"""Pages of a node that only its neighbours reach, fetched through an SSH connection to it."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any

from emrctl.remote.ssh import channel

if TYPE_CHECKING:
    from emrctl.remote.ssh import Line

_SILENCE_S = 5.0


def fetch(line: Line, where: tuple[str, int], path: str) -> Any:
    """The JSON document at `path` of `where`, as the line's node sees that address.

    OSError where nobody answers there, ValueError where the answer is no JSON document.
    """
    connection = http.client.HTTPConnection(*where)
    opened = channel(line, where)
    opened.settimeout(_SILENCE_S)
    connection.sock = opened  # a channel does all that is asked of it
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise ConnectionError(f"{path} answers {answer.status} {answer.reason}")
        return json.loads(answer.read())
    except http.client.HTTPException as error:
        raise ConnectionError(f"{path} does not answer as a page does: {error}") from error
    finally:
        connection.close()
