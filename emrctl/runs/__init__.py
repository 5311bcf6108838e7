"""Runs: submit a job, follow it, store its record and metrics; experiments and SQL over runs.

`submission.submit` redacts and stores the record, `lifecycle` refreshes and cancels it,
`pull` stores logs and metrics once the step has finished.
"""
