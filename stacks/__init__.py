"""The Pulumi program: declares the AWS resources of a project's spec and exports their outputs."""
