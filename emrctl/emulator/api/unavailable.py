"""EMR API operations on resources that the local account cannot have.

Lists are empty, and everything else is EMR's error for a resource that does not exist.
"""

from __future__ import annotations

from typing import Any

from emrctl.emulator.api.service import Operation, Request, invalid


def _empty(key: str) -> Operation:
    """Return the operation that returns an empty list."""
    marker = "NextToken" if key == "Sessions" else "Marker"

    def operation(request: Request) -> dict[str, Any]:
        if "ClusterId" in request.members:
            _ = request.cluster
        return request.page(key, [], marker=marker)

    return operation


def _missing(noun: str, member: str) -> Operation:
    """Return the operation that raises EMR's error for a resource that does not exist."""

    def operation(request: Request) -> dict[str, Any]:
        if "ClusterId" in request.members:
            _ = request.cluster
        raise invalid(f"{noun} '{request.members[member]}' does not exist.")

    return operation


def _unsupported(message: str) -> Operation:
    """Return the operation that raises an error in every case."""

    def operation(_: Request) -> dict[str, Any]:
        raise invalid(message)

    return operation


def _start_session(request: Request) -> dict[str, Any]:
    raise invalid(f"Cluster {request.cluster.id} is not enabled for sessions.")


_STUDIO = _missing("Studio", "StudioId")
_NOTEBOOK = _missing("Notebook execution", "NotebookExecutionId")
_SESSION = _missing("Session", "SessionId")

OPERATIONS: dict[str, Operation] = {
    "CreateStudio": _unsupported("EMR Studio is not available in this account (local)."),
    "DescribeStudio": _STUDIO,
    "UpdateStudio": _STUDIO,
    "DeleteStudio": _STUDIO,
    "ListStudios": _empty("Studios"),
    "CreateStudioSessionMapping": _STUDIO,
    "GetStudioSessionMapping": _STUDIO,
    "UpdateStudioSessionMapping": _STUDIO,
    "DeleteStudioSessionMapping": _STUDIO,
    "ListStudioSessionMappings": _empty("SessionMappings"),
    "StartNotebookExecution": _unsupported(
        "EMR Notebooks are not available in this account (local)."
    ),
    "DescribeNotebookExecution": _NOTEBOOK,
    "StopNotebookExecution": _NOTEBOOK,
    "ListNotebookExecutions": _empty("NotebookExecutions"),
    "StartSession": _start_session,
    "GetSession": _SESSION,
    "GetSessionEndpoint": _SESSION,
    "ListSessions": _empty("Sessions"),
    "TerminateSession": _SESSION,
}
