"""What a command in this process answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

# Exit code, stdout and stderr.
Answer = tuple[int, str, str]
Emrctl = Callable[..., Answer]


def json_of(answer: Answer) -> Any:
    """Return the JSON that a command printed, which must have succeeded."""
    code, out, err = answer
    assert code == 0, err
    return json.loads(out)
