"""Secrets by name and by shape are redacted; harmless names and ordinary texts are not."""

from __future__ import annotations

import io

import pytest

from emrctl import redact
from emrctl.redact import REDACTED

SECRET_NAMES = """
PASSWORD DB_PASSWORD dbpassword DbPassword MYSQL_ROOT_PASSWORD PGPASSWORD DB_PASSWD DB_PWD db.pwd
DB_PASS SMTP_PASS DB_PASSPHRASE GPG_PASSPHRASE spark.my.passphrase PASSCODE
SECRET CLIENT_SECRET clientSecret AWS_SECRET_ACCESS_KEY SecretAccessKey VAULT_SECRET_ID
spark.authenticate.secret spark.hadoop.fs.s3a.secret.key spark.ssl.keyPassword
spark.ssl.keyStorePassword spark.ssl.trustStorePassword
AWS_ACCESS_KEY_ID spark.hadoop.fs.s3a.access.key accessKey awsAccessKeyId AWS_SESSION_TOKEN
spark.hadoop.fs.s3a.session.token TOKEN GITHUB_TOKEN GH_TOKEN gitlabToken HF_TOKEN oauthToken
spark.kubernetes.authenticate.submission.oauthToken TELEGRAM_BOT_TOKEN REFRESH_TOKENS GITHUB_PAT
API_KEY apiKey APIKey apikey X-Api-Key OPENAI_API_KEY OPENAI_KEY DD_APP_KEY STRIPE_KEY
PRIVATE_KEY privateKey SSH_PRIVATE_KEY SSH_KEY TLS_KEY SIGNING_KEY JWT_SIGNING_KEY ENCRYPTION_KEY
MASTER_KEY RAILS_MASTER_KEY DJANGO_SECRET_KEY STORAGE_ACCOUNT_KEY AccountKey SHARED_KEY
spark.hadoop.fs.azure.account.key.x spark.hadoop.fs.azure.account.key.x.dfs.core.windows.net
spark.hadoop.fs.azure.sas.container.account AZURE_STORAGE_SAS AZURE_STORAGE_CONNECTION_STRING
spark.hadoop.fs.s3a.server-side-encryption.key spark.hadoop.fs.s3a.encryption.key
GOOGLE_APPLICATION_CREDENTIALS DB_CREDENTIALS spark.my.credential.name MONGO_CREDS
SLACK_WEBHOOK_URL AUTHORIZATION BASIC_AUTH PROXY_AUTH SESSION_COOKIE JWT AUTH_KEY LICENSE_KEY
spark.executorEnv.DB_PASSWORD spark.yarn.appMasterEnv.STORAGE_ACCOUNT_KEY --db-password --api-key
"""
HARMLESS_NAMES = """
KEY_COUNT partition_key primary_key primaryKey PRIMARY_KEY foreign_key SORT_KEY sortKey JOIN_KEYS
join.key GROUP_KEY CACHE_KEY OBJECT_KEY S3_KEY PUBLIC_KEY KMS_KEY_ARN monkey MONKEY turkey
keyspace KEYBOARD hotkey HOT_KEYS expected_keys KEY key
spark.sql.tokenizer TOKENIZER Tokenizer tokenization MAX_TOKENS max_new_tokens TOKEN_COUNT
token_limit token.ttl TOKENIZERS_PARALLELISM spark.executor.memory spark.yarn.keytab
spark.kerberos.keytab spark.ssl.keyStore spark.ssl.enabled spark.network.crypto.keyLength
spark.io.encryption.keySizeBits spark.io.encryption.enabled spark.authenticate
spark.security.credentials.hive.enabled spark.hadoop.fs.s3a.aws.credentials.provider
spark.hadoop.fs.azure.account.auth.type AWS_SHARED_CREDENTIALS_FILE PASSWORD_FILE PASSWORD_LENGTH
secretary SECRETARIAT passenger_count PASSPORT_COLUMN compass BYPASS first_pass SINGLE_PASS
passwordless PWD OLDPWD PATH HOME AWS_REGION broken stocks
"""
SECRET_VALUES = """
AKIAIOSFODNN7EXAMPLE
ASIAIOSFODNN7EXAMPLE
ghp_16C7e42F292c6912E7710c838347Ae178B4a
github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz
glpat-abcdefghijklmnopqrst
xoxb-1234567890-abcdefghij
https://hooks.slack.com/services/T000/B000/XXXXXXXX
dapi0123456789abcdef0123456789abcdef
hf_abcdefghijklmnopqrstuvwxyzABCDEFGH
sk_live_abcdefghijklmnopqrst
eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P
-----BEGIN RSA PRIVATE KEY-----
postgres://user:hunter2@host/db
https://0123456789abcdef@sentry.example/1
jdbc:postgresql://host/db?user=u&password=hunter2
jdbc:sqlserver://host;user=u;password=hunter2;encrypt=true
jdbc:oracle:thin:scott/tiger@host:1521:db
DefaultEndpointsProtocol=https;AccountName=x;AccountKey=abc123==;EndpointSuffix=core
-Ddb.pwd=hunter2
-DDB_PWD=hunter2
-Dmy.passPhrase=hunter2
""".strip().split("\n")


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_is_secret_name_of_a_secret_is_true(name: str) -> None:
    assert redact.is_secret_name(name)
    assert redact.value(name, "hunter2") == REDACTED
    assert redact.arguments([f"{name}=hunter 2"]) == (f"{name}={REDACTED}",)
    assert "hunter2" not in redact.text(f"run {name.lstrip('-')}=hunter2")


@pytest.mark.parametrize("name", HARMLESS_NAMES.split())
def test_is_secret_name_of_a_harmless_name_is_false(name: str) -> None:
    assert not redact.is_secret_name(name)
    assert redact.value(name, "hunter2") == "hunter2"
    assert redact.arguments([f"{name}=hunter2"]) == (f"{name}=hunter2",)


@pytest.mark.parametrize("value", SECRET_VALUES)
def test_value_with_the_shape_of_a_secret_is_redacted(value: str) -> None:
    assert redact.value("spark.x", value) == REDACTED
    for secret in ("hunter2", "tiger", "abc123", "0123456789abcdef"):
        assert secret not in redact.text(value)


@pytest.mark.parametrize("value", SECRET_VALUES)
def test_redacting_twice_changes_nothing(value: str) -> None:
    once = redact.text(value)
    assert redact.text(once) == once
    once_more = redact.arguments(["--token", value, f"password={value}"])
    assert redact.arguments(once_more) == once_more


@pytest.mark.parametrize("value", ["", "true", "false"])
def test_value_of_a_flag_is_kept(value: str) -> None:
    assert redact.value("spark.hadoop.security.authorization", value) == value


def test_mapping_keeps_names_and_order() -> None:
    found = redact.mapping({"b": "1", "a_token": "x", "a": "2"})
    assert list(found.items()) == [("b", "1"), ("a_token", REDACTED), ("a", "2")]


def test_arguments_after_the_name_of_a_secret_are_redacted() -> None:
    items = ["--input", "s3://b/k", "--db-password", "hunter2", "--verbose", "--token", "--key=a"]
    expected = ["--input", "s3://b/k", "--db-password", REDACTED, "--verbose", "--token", "--key=a"]
    assert redact.arguments(items) == tuple(expected)


@pytest.mark.parametrize(
    "item",
    [
        "s3://bucket/secret/part-0000",
        "s3://bucket/k?versionId=3",
        "--output=s3://bucket/runs/1/output",
        "a=b=c",
        "spark.sql.shuffle.partitions=9",
    ],
)
def test_arguments_without_a_secret_are_kept(item: str) -> None:
    assert redact.arguments([item]) == (item,)


# Settings of ordinary jobs.
SETTINGS = """
spark.app.name=passenger-keys spark.driver.memory=4g spark.executor.instances=8
spark.sql.shuffle.partitions=200 spark.sql.adaptive.enabled=true spark.authenticate=true
spark.serializer=org.apache.spark.serializer.KryoSerializer spark.kryo.registrator=a.b.TokenKryo
spark.eventLog.dir=s3://bucket/eventlogs/ spark.yarn.tags=emrctl-1,token-run
spark.hadoop.fs.s3a.aws.credentials.provider=com.amazonaws.auth.profile.ProfileCredentialsProvider
spark.hadoop.fs.s3a.endpoint=http://127.0.0.1:5000 spark.hadoop.fs.s3a.path.style.access=true
spark.executor.extraJavaOptions=-XX:+UseG1GC spark.driver.extraClassPath=/opt/secret-jars/*
spark.sql.catalog.glue=org.apache.iceberg.spark.SparkCatalog
spark.sql.catalog.glue.warehouse=s3://bucket/warehouse/key=1/
spark.hadoop.fs.s3.bucket.acl=BucketOwnerFullControl spark.network.timeout=600s
spark.sql.sources.partitionColumnTypeInference.enabled=false spark.rdd.compress=True
spark.dynamicAllocation.enabled=false spark.speculation=true spark.locality.wait=3s
spark.jars.packages=org.apache.hadoop:hadoop-aws:3.3.4 spark.pyspark.python=python3.11
spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version=2 spark.yarn.maxAppAttempts=1
spark.sql.session.timeZone=UTC spark.ui.port=0 spark.port.maxRetries=64
spark.kerberos.principal=me@EXAMPLE.COM spark.yarn.keytab=/etc/me.keytab
"""
LOG = """\
26/11/27 10:00:00 INFO SecurityManager: Changing view acls to: hadoop
26/11/27 10:00:00 INFO SecurityManager: SecurityManager: authentication disabled; ui acls disabled
26/11/27 10:00:01 INFO Client: Requesting a new application from cluster with 2 NodeManagers
26/11/27 10:00:01 INFO TaskSetManager: Finished task 12.0 in stage 3.0 (TID 122) in 23 ms (13/200)
26/11/27 10:00:01 INFO DAGScheduler: ResultStage 3 (collect at Tokenizer.scala:23) finished in 1 s
26/11/27 10:00:02 INFO HadoopDelegationTokenManager: No delegation tokens to renew
"""


@pytest.mark.parametrize("setting", SETTINGS.split())
def test_ordinary_settings_are_kept(setting: str) -> None:
    name, _, value = setting.partition("=")
    assert redact.value(name, value) == value
    assert redact.arguments(["--conf", setting]) == ("--conf", setting)
    assert redact.text(f"spark-submit --conf {setting} --name x") == (
        f"spark-submit --conf {setting} --name x"
    )


@pytest.mark.parametrize(
    "line",
    [
        'export DB_PWD="hun\\"ter two"',
        "export DB_PASS='hunter two'",
        "java -server --arg '--password' --arg 'hunter two' --arg '--n'",
        "startExec '/usr/bin/spark-submit --name x --password hunter --n 5'",
        "startExec 'spark-submit --conf spark.hadoop.fs.azure.account.key.x=hunter -v'",
        '{"DB_PASS": "hunter two", "x": 1}',
        "spark.my.passphrase hunter2",
        "DATABASE_URL=postgres://me:hunter@host/db",
    ],
)
def test_secret_in_a_log_is_redacted_and_the_rest_is_kept(line: str) -> None:
    text = f"{LOG}before\n{line}\nafter\n{LOG}"
    redacted = redact.stream(io.BytesIO(text.encode())).read().decode()
    assert "hunter" not in redacted
    assert "two" not in redacted
    assert redacted.startswith(f"{LOG}before\n")
    assert redacted.endswith(f"\nafter\n{LOG}")


class _Pieces(io.BytesIO):
    """Returns a few bytes at a time, as a connection may do."""

    def read(self, _size: int | None = -1) -> bytes:
        return super().read(7)


@pytest.mark.parametrize("source", [io.BytesIO, _Pieces])
def test_private_key_in_a_log_is_redacted(source: type[io.BytesIO]) -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\n" + "hunter2+/AB\n" * 40
    whole = key + "-----END RSA PRIVATE KEY-----"
    text = f'{LOG}export KEY="{whole}"\nafter {whole} again\n{LOG}{key}'
    redacted = redact.stream(source(text.encode())).read().decode()
    assert "hunter" not in redacted
    assert "\nafter " in redacted
    assert f" again\n{LOG}" in redacted


def test_stream_of_log_without_secrets_returns_it() -> None:
    body = (LOG * 30_000).encode() + b"\xff\xfe no end of line"
    assert redact.stream(io.BytesIO(body)).read() == body
