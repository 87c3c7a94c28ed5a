"""Audits generated lines with DuckDB alone: every generator's numbers are there once, from 0 on without a gap,
over table and quarantine, and so is every producer's sequence. Knows nothing of our own auditor.

    hack/python hack/count_lines.py FOLDER --expect N     FOLDER holds dt=… and _dead; N lines of all generators
"""

import argparse
import pathlib
import sys

import duckdb

# The tail of a generated line, in a message or at the end of an access log's path.
TAIL = r"[\[?]gen[ =]([A-Za-z0-9._-]+)[ &]n=(\d+)[ &]sum=[0-9a-f]{8}"


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
    db.execute(
        f"""CREATE TABLE numbers AS
            SELECT regexp_extract(text, '{TAIL}', 1) AS generator,
                   TRY_CAST(nullif(regexp_extract(text, '{TAIL}', 2), '') AS BIGINT) AS n FROM lines""")
    rows = db.execute("SELECT count(*) FROM lines").fetchone()[0]
    generators = db.execute(
        """SELECT generator, count(n), count(DISTINCT n), min(n), max(n) FROM numbers
           WHERE n IS NOT NULL GROUP BY generator ORDER BY generator"""
    ).fetchall()
    numbered = sum(count for _, count, _, _, _ in generators)
    distinct = sum(unique for _, _, unique, _, _ in generators)
    gaps = db.execute(
        """SELECT _producer, count(*), count(DISTINCT _seq), min(_seq), max(_seq) FROM lines
           GROUP BY _producer HAVING count(*) <> max(_seq) + 1 OR count(DISTINCT _seq) <> count(*)"""
    ).fetchall()
    lost, twice = args.expect - distinct, numbered - distinct
    print(f"duckdb: {rows:,} lines, {numbered:,} with a number, {lost:,} lost, {twice:,} twice")
    for producer, count, unique, first, last in gaps:
        print(f"duckdb: {producer}: {count:,} rows, {unique:,} sequences, from {first:,} to {last:,}")
    good = lost == 0 and twice == 0 and rows == args.expect and not gaps
    for generator, _, unique, first, last in generators:
        if (first, last) != (0, unique - 1):
            print(f"duckdb: {generator}: {unique:,} numbers, from {first:,} to {last:,}")
            good = False
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
