"""`emrctl certificates`: a key and certificate for encryption in transit."""

from __future__ import annotations

from typing import Annotated

import typer

from emrctl.cli import options, render
from emrctl.provision import certificates as node_certificates
from emrctl.provision.bucket import find_bucket

app = options.new_app()


@app.command()
@options.common("config target region json")
def certificates(
    context: options.Context,
    days: Annotated[int, typer.Option(min=1, help="Validity in days.")] = 825,
) -> None:
    """Create a key and certificate for encryption in transit, in the bucket.

    Set `cluster.security.in_transit` in emrctl.yaml to the printed address.
    """
    workspace = context.workspace
    bucket = find_bucket(workspace.project, workspace.target)
    uri = node_certificates.make(workspace.target, bucket, days=days)
    if context.as_json:
        render.json_document({"uri": uri, "days": days})
        return
    typer.echo(uri)
    render.note("In emrctl.yaml: cluster: {security: {in_transit: " + uri + "}}")
