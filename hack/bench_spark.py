"""The ETL that Logpipe replaces, as it is commonly written: Spark's Structured Streaming reads a topic with one line a
record, one regular expression makes columns, and Parquet is written in folders by date and hour.

    hack/python -r hack/requirements-bench.txt hack/bench_spark.py SERVERS TOPIC FOLDER JARS

Reads what is there and ends. It writes into a local folder, and its offsets go there, too. Prints seconds, CPU seconds and
MiB of memory as JSON: of the query alone, without the start of Spark. For hack/bench-parts.
"""

import json
import os
import pathlib
import re
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

LINE = r"^(\S+ \S+) (\w+) +(.*)$"


def cpu_of(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    servers, topic, folder, jars = sys.argv[1:]
    spark = (
        SparkSession.builder.master(f"local[{os.cpu_count()}]")
        .appName("bench")
        .config("spark.jars", ",".join(map(str, pathlib.Path(jars).glob("*.jar"))))
        .config("spark.driver.memory", "2g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        # A record that is no line, such as the one by which our producers begin, is a row without a time.
        .config("spark.sql.ansi.enabled", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    pid = spark.sparkContext._gateway.proc.pid
    begun, before = time.monotonic(), cpu_of(pid)
    line = f.col("value").cast("string")
    parsed = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", servers)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .load()
        .select(
            f.to_timestamp(f.translate(f.regexp_extract(line, LINE, 1), ",", ".")).alias("timestamp"),
            f.regexp_extract(line, LINE, 2).alias("level"),
            f.regexp_extract(line, LINE, 3).alias("message"),
            f.col("partition").alias("_partition"),
            f.col("offset").alias("_offset"),
            f.current_timestamp().alias("_ingested_at"),
        )
        .withColumn("dt", f.to_date("timestamp"))
        .withColumn("hour", f.date_format("timestamp", "HH"))
    )
    query = (
        parsed.writeStream.format("parquet")
        .partitionBy("dt", "hour")
        .option("path", f"{folder}/table")
        .option("checkpointLocation", f"{folder}/checkpoint")
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    seconds, cpu = time.monotonic() - begun, cpu_of(pid) - before
    memory = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024
    rows = spark.read.parquet(f"{folder}/table").where("timestamp is not null").count()
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu": cpu, "memory": memory}))
    spark.stop()


if __name__ == "__main__":
    main()
