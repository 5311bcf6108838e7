"""The Pulumi program: a project's spec in, its AWS resources and outputs out."""
