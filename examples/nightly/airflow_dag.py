"""Airflow: create a cluster every night, run the experiment, compare, and delete the cluster.

Copy this file to the DAGs folder, and the folder of emrctl.yaml to PROJECT on the workers. Needs
Airflow 3 with the provider `apache-airflow-providers-standard`.

`up` is a setup and `down` its teardown: `down` runs after success and failure, and does not decide
the state of the DAG run. Exit codes of `emrctl compare` fail its task: 8 if a configuration is
certainly slower than the limit, 9 if the repeats leave that open.
"""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

PROJECT = "/opt/airflow/projects/nightly"

with DAG(
    dag_id="emrctl_nightly",
    schedule="17 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # two runs would share a cluster
    default_args={"cwd": PROJECT, "append_env": True},
) as dag:
    up = BashOperator(
        task_id="up",
        bash_command="emrctl up",
        execution_timeout=timedelta(minutes=30),
    )
    submit = BashOperator(
        task_id="submit",
        bash_command="emrctl experiment run nightly",
        retries=1,  # completed trials are kept, so a retry runs the others only
        execution_timeout=timedelta(hours=1),
    )
    compare = BashOperator(
        task_id="compare",
        bash_command="emrctl compare --experiment nightly --fail-if duration_s:10%",
    )
    down = BashOperator(
        task_id="down",
        bash_command="emrctl down --yes",
        retries=3,
    )
    up >> submit >> compare >> down.as_teardown(setups=up)
