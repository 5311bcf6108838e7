"""PySpark programs that fail, and the text that `emrctl` must name as the cause.

Each case is a whole program. Those that fail in queries and tasks are in `spark_cases.py`.
"""

from __future__ import annotations

from tests.runs.failures.case import CLUSTER, EC2, KINDS, Case
from tests.runs.failures.spark_cases import SPARK, SQL, TASKS

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
