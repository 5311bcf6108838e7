"""PySpark programs that fail, and the text that `emrctl` must name as the cause.

Each case is a whole program; `SPARK` creates its session. There are three kinds of run: `client`
and `cluster` deploy mode on EMR, and `ec2` on a standalone cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CLIENT, CLUSTER, EC2 = KINDS = ("client", "cluster", "ec2")
SPARK = "from pyspark.sql import SparkSession\nspark = SparkSession.builder.getOrCreate()\n"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A program, how it is submitted and the texts that the named cause contains.

    A cause of None is that of a cancelled run: there is none. `also` are further texts, `never`
    are texts that the cause must not contain.
    """

    program: str
    cause: str | None
    also: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    conf: Mapping[str, str] = field(default_factory=dict)
    script: str = ""


def is_right(case: Case, failure: str | None) -> bool:
    """Return whether the text names the cause of the case."""
    if case.cause is None or failure is None:
        return case.cause is failure
    wrong = (*case.never, "OnOutOfMemoryError", "kill %p")
    expected = (case.cause, *case.also)
    return all(text in failure for text in expected) and not any(text in failure for text in wrong)


PYTHON: dict[str, Case] = {
    "exit_message": Case(
        program="import sys\nprint('reading')\nsys.exit('no new data for today: nothing to do')\n",
        cause="no new data for today: nothing to do",
    ),
    "exit_message_after_spark": Case(
        program=SPARK
        + "import sys\nn = spark.range(9).count()\nsys.exit(f'{n} rows, at least 10 are needed')\n",
        cause="9 rows, at least 10 are needed",
    ),
    "exit_code": Case(
        program="import sys\nprint('rows: 0')\nsys.exit(3)\n",
        cause="exit code 3",
        also=("rows: 0",),
    ),
    "exit_without_output": Case(program="raise SystemExit(1)\n", cause="exit code 1"),
    "usage_error": Case(
        program="import argparse\np = argparse.ArgumentParser(prog='job.py')\n"
        "p.add_argument('--input', required=True)\np.parse_args()\n",
        cause="job.py: error: the following arguments are required: --input",
    ),
    "syntax_error": Case(
        program="rows = [1, 2\nprint(rows)\n",
        cause="SyntaxError: '[' was never closed",
    ),
    "indentation_error": Case(
        program="def main():\nprint(1)\n",
        cause="IndentationError: expected an indented block after function definition on line 1",
    ),
    "module_not_found": Case(
        program="import nosuchmodule\n",
        cause="ModuleNotFoundError: No module named 'nosuchmodule'",
    ),
    "import_error": Case(
        program="from pyspark.sql import SparkSesion\n",
        cause="ImportError: cannot import name 'SparkSesion' from 'pyspark.sql'",
    ),
    "unusual_class": Case(
        program="class NoPictures(Exception):\n    pass\n\n\nraise NoPictures('of breed dgo')\n",
        cause="NoPictures: of breed dgo",
    ),
    "class_without_message": Case(
        program=SPARK
        + "class Stale(Exception):\n    pass\n\nspark.range(3).count()\nraise Stale\n",
        cause="Stale",
    ),
    "caught_then_real": Case(
        program=SPARK + "import logging\n"
        "for attempt in (1, 2):\n    try:\n        if attempt == 1:\n"
        "            raise ConnectionError('service slow, attempt 1')\n"
        "    except ConnectionError:\n        logging.exception('will try again')\n"
        "print('second attempt worked')\nrow = spark.range(1).first().asDict()\n"
        "print(row['customer_id'])\n",
        cause="KeyError: 'customer_id'",
        never=("service slow",),
    ),
    "caught_then_exit": Case(
        program="import logging, sys, traceback\n\ndef ask():\n    try:\n"
        "        raise ConnectionError('attempt 1')\n    except ConnectionError:\n"
        "        traceback.print_exc()\nask()\n"
        "print('INFO: continuing')\nsys.exit('3 of 9 failed')\n",
        cause="3 of 9 failed",
        never=("attempt 1",),
    ),
    "logged_then_exit": Case(
        program="import logging, sys\n\ndef main():\n    int('12 apples')\n\ntry:\n    main()\n"
        "except Exception:\n    logging.exception('the job failed')\n    sys.exit(1)\n",
        cause="ValueError: invalid literal for int() with base 10: '12 apples'",
    ),
    "chained": Case(
        program="config = {}\ntry:\n    config['bucket']\nexcept KeyError as error:\n"
        "    raise RuntimeError('the configuration is incomplete') from error\n",
        cause="KeyError: 'bucket'",
        also=("RuntimeError: the configuration is incomplete",),
    ),
    "while_handling": Case(
        program="try:\n    int('x')\nexcept ValueError:\n    print(undefined_name)\n",
        cause="NameError: name 'undefined_name' is not defined",
    ),
    "several_lines": Case(
        program="raise ValueError('2 columns are missing:\\n  breed\\n  label')\n",
        cause="ValueError: 2 columns are missing:",
    ),
    "group": Case(
        program="raise ExceptionGroup('uploads failed', [OSError('a.jpg'), OSError('b.jpg')])\n",
        cause="ExceptionGroup: uploads failed (2 sub-exceptions)",
        also=("OSError: a.jpg",),
    ),
    "assertion": Case(
        program=SPARK + "assert spark.range(3).count() == 4\n", cause="AssertionError"
    ),
    "recursion": Case(
        program="def depth(n):\n    return depth(n + 1)\n\ndepth(0)\n",
        cause="RecursionError: maximum recursion depth exceeded",
    ),
    "python_memory": Case(program="bytearray(1 << 60)\n", cause="MemoryError"),
    "killed_driver": Case(
        program=SPARK + "import os, signal\nprint(spark.range(3).count(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n",
        cause="exit code 137",
        also=("SIGKILL",),
    ),
    "killed_jvm": Case(
        program=SPARK + "import os, signal, time\n"
        "pid = spark._jvm.java.lang.ProcessHandle.current().pid()\n"
        "os.kill(pid, signal.SIGKILL)\ntime.sleep(2)\nspark.range(3).count()\n",
        cause="exit code 137",
        also=("SIGKILL",),
    ),
    "segmentation_fault": Case(
        program="import ctypes\nctypes.string_at(0)\n", cause="exit code 139", also=("SIGSEGV",)
    ),
    "disk_full": Case(
        program="with open('/dev/full', 'w') as file:\n    file.write('x')\n",
        cause="OSError: [Errno 28] No space left on device",
    ),
}

SUBMISSION: dict[str, Case] = {
    "no_such_script": Case(program="", script="s3://{bucket}/nosuch/job.py", cause="nosuch/job.py"),
    "bad_property": Case(
        program=SPARK,
        conf={"spark.task.cpus": "two"},
        cause="spark.task.cpus should be int, but was two",
    ),
    "unknown_python": Case(
        program=SPARK + "print(spark.sparkContext.parallelize([1]).map(str).collect())\n",
        conf={"spark.pyspark.python": "python2.5"},
        cause='Cannot run program "python2.5"',
    ),
    "container_too_large": Case(
        program=SPARK,
        conf={"spark.executor.memoryOverhead": "20g"},
        cause="above the max threshold (12288 MB) of this cluster",
    ),
    "own_master": Case(
        program="from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.master('local[*]').getOrCreate()\n"
        "print('COUNT', spark.range(1000).count())\n",
        cause="exit code 13",
        also=("SparkContext", "master"),
    ),
    "no_session": Case(
        program="print('no Spark needed')\n",
        cause="exit code 13",
        also=("SparkContext",),
    ),
    "missing_jar": Case(
        program=SPARK,
        conf={"spark.jars": "s3://{bucket}/nosuch.jar"},
        cause="nosuch.jar",
    ),
    "cancelled": Case(
        program=SPARK + "import time\nprint('started', flush=True)\ntime.sleep(300)\n", cause=None
    ),
    "gallery_job": Case(
        program="",
        script="wordcount",
        arguments=("--input", "s3://{bucket}/nosuch/"),
        cause="nosuch",
    ),
}

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
JUDGES: dict[str, Case] = {
    "printed_analysis": Case(
        program=SPARK + "import sys\ntry:\n    spark.table('orders').show()\n"
        "except Exception as error:\n    print(f'job failed: {error}')\n    sys.exit(1)\n",
        cause="job failed: [TABLE_OR_VIEW_NOT_FOUND] The table or view `orders` cannot be found",
    ),
    "printed_task_error": Case(
        program=SPARK + "import sys\ntry:\n"
        "    spark.sparkContext.parallelize([1]).map(lambda x: x / 0).collect()\n"
        "except Exception as error:\n    print('ERROR', error)\n    sys.exit(2)\n",
        cause="ZeroDivisionError: division by zero",
    ),
    "log4j_error": Case(
        program=SPARK
        + "import sys\nlog = spark._jvm.org.apache.log4j.LogManager.getLogger('etl')\n"
        "log.error('input partition 2026-11-26 is empty')\nsys.exit(1)\n",
        cause="input partition 2026-11-26 is empty",
    ),
    "foreach_batch": Case(
        program=SPARK + "def handle(frame, number):\n"
        "    raise RuntimeError(f'batch {number} rejected')\n\n"
        "stream = spark.readStream.format('rate').load().writeStream\n"
        "stream.foreachBatch(handle).start().awaitTermination()\n",
        cause="RuntimeError: batch 0 rejected",
    ),
    "thread_pool": Case(
        program=SPARK + "from concurrent.futures import ThreadPoolExecutor\n"
        "def load(i):\n    return spark.table(f't{i}').count()\n"
        "with ThreadPoolExecutor(2) as pool:\n    print(list(pool.map(load, [1, 2])))\n",
        cause="[TABLE_OR_VIEW_NOT_FOUND] The table or view `t1` cannot be found",
    ),
    "logging_at_exit": Case(
        program=SPARK + "import logging\nlogging.basicConfig(level='INFO', "
        "format='%(asctime)s %(levelname)s %(name)s: %(message)s')\n"
        "log = logging.getLogger('job')\n\ndef main():\n    try:\n        int(None)\n"
        "    except TypeError:\n        log.exception('retrying')\n    try:\n"
        "        spark.range(3).select('nope')\n    finally:\n        log.info('stopping')\n"
        "        spark.stop()\n\nmain()\n",
        cause="[UNRESOLVED_COLUMN.WITH_SUGGESTION]",
        also=("`nope`",),
    ),
    "process_pool": Case(
        program="from multiprocessing import Pool\ndef f(x):\n"
        "    raise ValueError(f'shard {x} is corrupt')\n\nif __name__ == '__main__':\n"
        "    with Pool(1) as pool:\n        pool.map(f, [4])\n",
        cause="ValueError: shard 4 is corrupt",
    ),
    "exit_lines": Case(
        program="import sys\nsys.exit('Missing settings:\\n  - BUCKET\\n  - REGION')\n",
        cause="Missing settings: - BUCKET - REGION",
    ),
    "no_driver": Case(
        program=SPARK + "reader = spark.read.format('jdbc')\n"
        "reader.options(url='jdbc:postgresql://db/x', dbtable='t').load()\n",
        cause="java.sql.SQLException: No suitable driver",
    ),
}

CASES: dict[str, Case] = {**PYTHON, **SUBMISSION, **SQL, **TASKS, **JUDGES}
_CLUSTER_ONLY = frozenset({"own_master", "no_session", "driver_container"})
_CLUSTER = _CLUSTER_ONLY | {
    *("exit_message_after_spark", "exit_code", "usage_error", "syntax_error", "caught_then_real"),
    *("logged_then_exit", "killed_driver", "killed_jvm", "no_such_script", "missing_jar"),
    *("cancelled", "gallery_job", "missing_table", "forbidden", "mllib_validation", "udf", "rdd"),
    *("worker_crash", "executor_killed", "executor_heap", "result_size"),
}
_EC2 = frozenset(
    {
        *("exit_message", "exit_code", "usage_error", "syntax_error", "caught_then_real"),
        *("killed_driver", "killed_jvm", "no_such_script", "bad_property", "missing_jar"),
        *("cancelled", "missing_table", "missing_bucket", "forbidden", "mllib_validation", "udf"),
        *("rdd", "worker_crash", "executor_killed", "executor_heap", "driver_heap", "result_size"),
    }
)


def kinds(name: str) -> tuple[str, ...]:
    """Return the kinds in which a case runs: in all of them only where they differ."""
    others = {CLUSTER: _CLUSTER, EC2: _EC2}
    return tuple(kind for kind in KINDS if name in others.get(kind, CASES.keys() - _CLUSTER_ONLY))
