"""Reads a pipeline's files with DuckDB, PyArrow and Polars, and checks that all three see the same rows and
the types that the documentation promises.

    hack/python hack/check_types.py FOLDER
"""

import pathlib
import sys

import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset as dataset

METADATA = {
    "_partition": pa.int32(),
    "_offset": pa.int64(),
    "_line": pa.int32(),
    "_producer": pa.string(),
    "_seq": pa.int64(),
    "_file": pa.string(),
    "_file_offset": pa.int64(),
    "_ingested_at": pa.timestamp("us", tz="UTC"),
}
DATA = {"timestamp": pa.timestamp("us", tz="UTC"), "level": pa.string(), "message": pa.string()}


def main():
    folder = pathlib.Path(sys.argv[1])
    pattern = str(folder / "dt=*" / "**" / "*.parquet")

    arrow = dataset.dataset(folder, format="parquet", partitioning="hive")  # leaves out _dead by itself
    for name, kind in {**DATA, **METADATA}.items():
        found = arrow.schema.field(name).type
        assert found == kind, f"pyarrow: {name} is {found}, not {kind}"
    file = dataset.dataset(arrow.files[0], format="parquet")
    assert not {"dt", "hour"} & set(file.schema.names), "the partition columns stand inside the file"
    rows = arrow.count_rows()

    db = duckdb.connect()
    db.execute(f"CREATE VIEW t AS SELECT * FROM read_parquet('{pattern}', hive_partitioning=true)")
    kinds = dict(db.execute("SELECT column_name, column_type FROM (DESCRIBE t)").fetchall())
    assert kinds["timestamp"] == "TIMESTAMP WITH TIME ZONE", kinds["timestamp"]
    assert kinds["message"] == "VARCHAR", kinds["message"]
    assert kinds["_offset"] == "BIGINT", kinds["_offset"]
    by_duckdb, strays = db.execute(
        """SELECT count(*), count(*) FILTER (
             strftime(timezone('UTC', timestamp), '%Y-%m-%d %H') <>
             strftime(dt::DATE, '%Y-%m-%d') || ' ' || lpad(hour::VARCHAR, 2, '0')) FROM t"""
    ).fetchone()
    assert by_duckdb == rows, f"duckdb counts {by_duckdb} rows, pyarrow {rows}"
    assert strays == 0, f"{strays} rows stand in the folder of another hour"

    frame = polars.scan_parquet(pattern, hive_partitioning=True)
    by_polars = frame.select(polars.len()).collect().item()
    assert by_polars == rows, f"polars counts {by_polars} rows, pyarrow {rows}"
    assert frame.collect_schema()["timestamp"] == polars.Datetime("us", "UTC")

    print(f"readers: duckdb {duckdb.__version__}, pyarrow {pa.__version__}, polars {polars.__version__} "
          f"agree on {rows:,} rows and their types")


if __name__ == "__main__":
    main()
