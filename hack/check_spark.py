"""Reads a pipeline's files with Spark, in one local process, and checks the types, the folders as columns,
the pruning by folder, the quarantine's absence, and the rows against DuckDB.

    hack/python -r hack/requirements-spark.txt hack/check_spark.py FOLDER

FOLDER is what the sink's prefix names, such as logpipe-data/quickstart/parquet/quickstart. It needs Java 17
or newer. PySpark is 400 MB, so this is no part of the gate.
"""

import pathlib
import sys

import duckdb
import pyspark
from pyspark.sql import SparkSession
from pyspark.sql import types as t

# `hour` is written with two digits, and Spark takes it for a number.
TYPES = {
    "timestamp": t.TimestampType(),
    "level": t.StringType(),
    "message": t.StringType(),
    "_partition": t.IntegerType(),
    "_offset": t.LongType(),
    "_line": t.IntegerType(),
    "_producer": t.StringType(),
    "_seq": t.LongType(),
    "_file": t.StringType(),
    "_file_offset": t.LongType(),
    "_ingested_at": t.TimestampType(),
    "dt": t.DateType(),
    "hour": t.IntegerType(),
}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1]).resolve()
    spark = (
        SparkSession.builder.master("local[1]")
        .appName("logpipe-check")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    try:
        check(spark, folder)
    finally:
        spark.stop()


def check(spark, folder):
    table = spark.read.parquet(str(folder))
    found = {field.name: field.dataType for field in table.schema.fields}
    for name, kind in TYPES.items():
        assert name in found, f"spark: there is no column {name}"
        assert found[name] == kind, f"spark: {name} is {found[name]}, not {kind}"
    assert list(found)[-2:] == ["dt", "hour"], f"spark: the folders' columns are not last: {list(found)}"

    files = table.inputFiles()
    dead = [file for file in files if "/_dead/" in file]
    assert not dead, f"spark: the quarantine is read as part of the table: {dead[0]}"

    by_duckdb = count_with_duckdb(folder)
    rows = {(str(row.dt), row.hour): row["count"] for row in table.groupBy("dt", "hour").count().collect()}
    assert rows == by_duckdb, f"spark and duckdb differ:\n{rows}\n{by_duckdb}"

    # Every row stands in the folder of its own hour; rows without a time in that of their reading.
    strays = table.where(
        "date(coalesce(timestamp, _ingested_at)) <> dt or hour(coalesce(timestamp, _ingested_at)) <> hour"
    ).count()
    assert strays == 0, f"spark: {strays} rows stand in the folder of another hour"

    pruned = check_pruning(table, folder, rows)
    print(
        f"readers: spark {pyspark.__version__} and duckdb {duckdb.__version__} agree on {sum(rows.values()):,} rows "
        f"in {len(rows)} folders and their types; {pruned}"
    )


def count_with_duckdb(folder):
    counts = duckdb.execute(
        "SELECT dt::VARCHAR, hour::INT, count(*) FROM read_parquet(?, hive_partitioning = true) GROUP BY ALL",
        [str(folder / "dt=*" / "**" / "*.parquet")],
    ).fetchall()
    return {(dt, hour): count for dt, hour, count in counts}


def check_pruning(table, folder, rows):
    """A filter on dt and hour must reach the listing: Spark says so in its plan, and scans one folder's files."""
    (dt, hour), count = min(rows.items())
    one = table.where(f"dt = date'{dt}' and hour = {hour}")
    assert one.count() == count
    plan = one._jdf.queryExecution().executedPlan()
    scan = next((line for line in plan.toString().splitlines() if "PartitionFilters" in line), "")
    filters = scan.split("PartitionFilters: [", 1)[-1].split("]", 1)[0]
    assert "dt#" in filters and "hour#" in filters, f"spark: no pruning by dt and hour: {scan or plan.toString()}"
    scanned = {row.file for row in one.selectExpr("_metadata.file_path AS file").distinct().collect()}
    there = len(list((folder / f"dt={dt}" / f"hour={hour:02}").glob("*.parquet")))
    assert len(scanned) == there, f"spark: {len(scanned)} files scanned, and {there} are in the folder"
    return f"dt and hour prune ({there} of {len(table.inputFiles())} files)"


if __name__ == "__main__":
    main()
