"""`emrctl certificates`: a key and certificate for encryption between the nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from emrctl import provision
from emrctl.cli import options, render
from emrctl.provision import certificates as making

app = options.new_app()


@app.command()
def certificates(
    config: options.ConfigOption = None,
    target: options.TargetOption = None,
    region: options.RegionOption = None,
    days: Annotated[int, typer.Option(min=1, help="For how long they are good.")] = 825,
    as_json: options.JsonOption = False,
) -> None:
    """Put a new key and certificate for the nodes on the project's bucket; they exist only there.

    `cluster.security.in_transit` in emrctl.yaml then names the address that is printed.
    """
    workspace = options.open_workspace(config, target=target, region=region)
    bucket = provision.find_bucket(workspace.project, workspace.target)
    uri = making.make(workspace.target, bucket, days=days)
    if as_json:
        render.json_document({"uri": uri, "days": days})
        return
    typer.echo(uri)
    render.note("In emrctl.yaml: cluster: {security: {in_transit: " + uri + "}}")
