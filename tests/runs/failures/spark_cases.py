"""Programs that fail in queries and in tasks; `SPARK` creates the session of a program."""

from __future__ import annotations

from tests.runs.failures.case import Case

SPARK = "from pyspark.sql import SparkSession\nspark = SparkSession.builder.getOrCreate()\n"

SQL: dict[str, Case] = {
    "missing_table": Case(
        program=SPARK + "spark.table('sales').show()\n",
        cause="[TABLE_OR_VIEW_NOT_FOUND] The table or view `sales` cannot be found",
    ),
    "missing_column": Case(
        program=SPARK + "spark.range(3).select('breed').show()\n",
        cause="[UNRESOLVED_COLUMN.WITH_SUGGESTION]",
        also=("`breed`",),
    ),
    "parse_error": Case(
        program=SPARK + "spark.sql('SELEC 1').show()\n",
        cause="[PARSE_SYNTAX_ERROR] Syntax error at or near 'SELEC'",
    ),
    "missing_path": Case(
        program=SPARK + "spark.read.parquet('s3://{bucket}/nosuch/table').show()\n",
        cause="[PATH_NOT_FOUND] Path does not exist: s3://",
        also=("nosuch/table",),
    ),
    "missing_bucket": Case(
        program=SPARK + "spark.read.text('s3://no-such-bucket-of-anyone/x').show()\n",
        cause="no-such-bucket-of-anyone",
    ),
    "forbidden": Case(
        program=SPARK + "spark.read.text('s3://data-of-others/private/x').show()\n",
        conf={
            "spark.hadoop.fs.s3a.bucket.data-of-others.access.key": "AKIAIOSFODNN7EXAMPLE",
            "spark.hadoop.fs.s3a.bucket.data-of-others.secret.key": "wrong",
            "spark.hadoop.fs.s3a.bucket.data-of-others.aws.credentials.provider": (
                "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
            ),
        },
        cause="403",
        also=("private/x",),
    ),
    "client_error": Case(
        program="import boto3\nboto3.client('s3').get_object(Bucket='{bucket}', Key='nosuch')\n",
        cause="An error occurred (NoSuchKey) when calling the GetObject operation",
    ),
    "output_exists": Case(
        program=SPARK + "for _ in range(2):\n"
        "    spark.sparkContext.parallelize([1]).saveAsTextFile('s3://{bucket}/tmp/{id}')\n",
        cause="FileAlreadyExistsException: Output directory s3://",
    ),
    "table_exists": Case(
        program=SPARK
        + "for _ in range(2):\n    spark.range(3).write.csv('s3://{bucket}/tmp/{id}')\n",
        cause="[PATH_ALREADY_EXISTS]",
    ),
    "cast": Case(
        program=SPARK + "spark.sql(\"select int('12 apples')\").show()\n",
        conf={"spark.sql.ansi.enabled": "true"},
        cause="[CAST_INVALID_INPUT] The value '12 apples'",
    ),
    "not_parquet": Case(
        program=SPARK + "spark.range(3).write.csv('s3://{bucket}/tmp/{id}')\n"
        "spark.read.schema('id long').parquet('s3://{bucket}/tmp/{id}').show()\n",
        cause="is not a Parquet file",
    ),
    "no_data_source": Case(
        program=SPARK + "spark.read.format('com.acme.none').load().show()\n",
        cause="com.acme.none",
    ),
    "java_package": Case(
        program=SPARK + "spark._jvm.com.acme.Reader()\n",
        cause="TypeError: 'JavaPackage' object is not callable",
    ),
    "stopped_context": Case(
        program=SPARK + "spark.stop()\nspark.range(3).count()\n",
        cause="AttributeError: 'NoneType' object has no attribute 'sc'",
    ),
    "mllib_validation": Case(
        program=SPARK + "from pyspark.mllib.classification import SVMWithSGD\n"
        "from pyspark.mllib.regression import LabeledPoint\n"
        "SVMWithSGD.train(spark.sparkContext.parallelize([LabeledPoint(2.0, [1.0])]))\n",
        cause="org.apache.spark.SparkException: Input validation failed.",
    ),
    "streaming": Case(
        program=SPARK + "from pyspark.sql.functions import udf\n"
        "bad = udf(lambda n: 1 // 0)\n"
        "query = spark.readStream.format('rate').load().select(bad('value'))\n"
        "query.writeStream.format('noop').start().awaitTermination()\n",
        cause="ZeroDivisionError: integer division or modulo by zero",
    ),
}

TASKS: dict[str, Case] = {
    "udf": Case(
        program=SPARK + "from pyspark.sql.functions import udf\n"
        "spark.range(9).select(udf(lambda n: 1 // n)('id')).show()\n",
        cause="ZeroDivisionError: integer division or modulo by zero",
    ),
    "rdd": Case(
        program=SPARK + "class BadRow(Exception):\n    pass\n\ndef parse(n):\n"
        "    if n == 5:\n        raise BadRow('row 5 has no label')\n    return n\n\n"
        "spark.sparkContext.parallelize(range(9), 2).map(parse).count()\n",
        cause="BadRow: row 5 has no label",
    ),
    "chained_in_task": Case(
        program=SPARK + "def parse(n):\n    try:\n        return {}['label']\n"
        "    except KeyError as error:\n        raise ValueError(f'row {n}') from error\n\n"
        "spark.sparkContext.parallelize([7], 1).map(parse).collect()\n",
        cause="KeyError: 'label'",
        also=("ValueError: row 7",),
    ),
    "pandas_udf": Case(
        program=SPARK + "def center(frame):\n    return frame.assign(x=frame['wieght'])\n\n"
        "spark.range(9).groupby('id').applyInPandas(center, 'id long, x long').count()\n"
        "spark.range(9).groupby('id').applyInPandas(center, 'id long, x long').collect()\n",
        cause="KeyError: 'wieght'",
    ),
    "module_on_driver_only": Case(
        program=SPARK + "import sys, tempfile, pathlib\nfolder = tempfile.mkdtemp()\n"
        "pathlib.Path(folder, 'helper.py').write_text('def f(x):\\n    return x\\n')\n"
        "sys.path.insert(0, folder)\nimport helper\n"
        "spark.sparkContext.parallelize([1]).map(helper.f).collect()\n",
        cause="ModuleNotFoundError: No module named 'helper'",
    ),
    "not_serializable": Case(
        program=SPARK + "sc = spark.sparkContext\n"
        "sc.parallelize([1]).map(lambda n: sc.parallelize([n]).count()).collect()\n",
        cause="[CONTEXT_ONLY_VALID_ON_DRIVER]",
    ),
    "worker_crash": Case(
        program=SPARK + "import os\n"
        "spark.sparkContext.parallelize([1], 1).foreach(lambda _: os._exit(1))\n",
        cause="Python worker exited unexpectedly (crashed)",
    ),
    "worker_disk_full": Case(
        program=SPARK + "def write(n):\n    with open('/dev/full', 'w') as file:\n"
        "        file.write('x')\n\nspark.sparkContext.parallelize([1], 1).foreach(write)\n",
        cause="OSError: [Errno 28] No space left on device",
    ),
    "executor_killed": Case(
        program=SPARK + "import os, signal\n\ndef kill(_):\n"
        "    stat = open(f'/proc/{os.getppid()}/stat').read()\n"
        "    os.kill(int(stat.rsplit(')', 1)[1].split()[1]), signal.SIGKILL)\n\n"
        "spark.sparkContext.parallelize([1], 1).foreach(kill)\n",
        cause="exit code 137",
        also=("SIGKILL",),
        conf={"spark.task.maxFailures": "2"},
    ),
    "executor_heap": Case(
        program=SPARK + "spark.range(3000).selectExpr(\"collect_list(repeat('x', 1000000))\")"
        ".write.format('noop').mode('append').save()\n",
        cause="java.lang.OutOfMemoryError: Java heap space",
        settings={"executor_memory": "512m"},
        conf={"spark.task.maxFailures": "1"},
    ),
    "executor_container": Case(
        program=SPARK + "import time\n\ndef fill(_):\n    data = b'x' * (2200 << 20)\n"
        "    time.sleep(20)\n\nspark.sparkContext.parallelize([1], 1).foreach(fill)\n",
        cause="memory",
        also=("spark.executor.memoryOverhead",),
        settings={"executor_memory": "512m"},
        conf={"spark.task.maxFailures": "1"},
    ),
    "driver_container": Case(
        program="import time\ndata = b'x' * (2000 << 20)\ntime.sleep(20)\n",
        cause="memory",
        also=("spark.driver.memoryOverhead",),
        settings={"driver_memory": "512m"},
    ),
    "driver_heap": Case(
        program=SPARK
        + "spark.range(0, 2000, 1, 8).selectExpr(\"repeat('x', 1000000)\").collect()\n",
        cause="java.lang.OutOfMemoryError: Java heap space",
        settings={"driver_memory": "512m"},
        conf={"spark.driver.maxResultSize": "0"},
    ),
    "result_size": Case(
        program=SPARK + "spark.range(2_000_000).collect()\n",
        cause="is bigger than spark.driver.maxResultSize (1024.0 KiB)",
        conf={"spark.driver.maxResultSize": "1m"},
    ),
}

# Programs that were written to judge an earlier version of the explanation.
