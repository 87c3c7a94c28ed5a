"""Audits generated lines with DuckDB alone: every number 0 … expect-1 is there once, over table and
quarantine, and every producer's sequence has no gap. Knows nothing of our own auditor.

    hack/python hack/count_lines.py FOLDER --expect N     FOLDER holds dt=… and _dead
"""

import argparse
import pathlib
import sys

import duckdb

# The tail of a generated line, in a message or at the end of an access log's path.
TAIL = r"[\[?]gen[ =][A-Za-z0-9._-]+[ &]n=(\d+)[ &]sum=[0-9a-f]{8}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--expect", type=int, required=True)
    args = parser.parse_args()

    db = duckdb.connect()
    table = args.folder / "dt=*" / "**" / "*.parquet"
    dead = args.folder / "_dead" / "**" / "*.parquet"
    parts = [f"SELECT message AS text, _producer, _seq FROM read_parquet('{table}', union_by_name=true)"]
    if any(args.folder.glob("_dead/**/*.parquet")):
        parts.append(
            f"SELECT decode(regexp_replace(raw::VARCHAR, '\\\\x..', '?', 'g')::BLOB), _producer, _seq "
            f"FROM read_parquet('{dead}', union_by_name=true)")
    db.execute("CREATE TABLE lines AS " + " UNION ALL ".join(parts))
    rows, numbered, distinct, least, most = db.execute(
        f"""SELECT count(*), count(n), count(DISTINCT n), min(n), max(n) FROM
            (SELECT TRY_CAST(nullif(regexp_extract(text, '{TAIL}', 1), '') AS BIGINT) AS n FROM lines)"""
    ).fetchone()
    gaps = db.execute(
        """SELECT _producer, count(*), count(DISTINCT _seq), min(_seq), max(_seq) FROM lines
           GROUP BY _producer HAVING count(*) <> max(_seq) + 1 OR count(DISTINCT _seq) <> count(*)"""
    ).fetchall()
    lost, twice = args.expect - distinct, numbered - distinct
    print(f"duckdb: {rows:,} lines, {numbered:,} with a number, {lost:,} lost, {twice:,} twice")
    for producer, count, unique, first, last in gaps:
        print(f"duckdb: {producer}: {count:,} rows, {unique:,} sequences, from {first:,} to {last:,}")
    good = lost == 0 and twice == 0 and rows == args.expect and not gaps
    if args.expect and (least, most) != (0, args.expect - 1):
        print(f"duckdb: numbers run from {least} to {most}")
        good = False
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
