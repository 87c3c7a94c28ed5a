"""Checks with DuckDB that the table holds exactly the lines of a file, each once: time, level and message.

    hack/python hack/check_messages.py FOLDER FILE      FILE has lines such as 2026-01-31 07:00:00,123 INFO message
"""

import pathlib
import sys

import duckdb


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, file = pathlib.Path(sys.argv[1]), sys.argv[2]
    if any(folder.glob("_dead/**/*.parquet")):
        sys.exit("messages: there are lines in the quarantine, and each of them can be read")
    with open(file, encoding="utf-8") as lines:
        expected = [line.rstrip("\n").split(" ", 3) for line in lines]
    db = duckdb.connect()
    db.execute("CREATE TABLE expected (day VARCHAR, clock VARCHAR, level VARCHAR, message VARCHAR)")
    db.executemany("INSERT INTO expected VALUES (?, ?, ?, ?)", expected)
    db.execute(
        """CREATE VIEW wanted AS
           SELECT day || ' ' || replace(clock, ',', '.') AS moment, level, message, count(*) AS times
           FROM expected GROUP BY ALL""")
    db.execute(
        f"""CREATE TABLE found AS
            SELECT strftime(timezone('UTC', timestamp), '%Y-%m-%d %H:%M:%S.%g') AS moment, level, message,
                   count(*) AS times
            FROM read_parquet('{folder / "dt=*" / "**" / "*.parquet"}') GROUP BY ALL""")
    differ = db.execute(
        """SELECT coalesce(w.message, f.message), coalesce(w.times, 0), coalesce(f.times, 0)
           FROM wanted w FULL JOIN found f USING (moment, level, message)
           WHERE w.times IS DISTINCT FROM f.times ORDER BY 1""").fetchall()
    for message, wanted, found in differ[:10]:
        print(f"messages: {message!r} was sent {wanted} times, and is there {found} times")
    print(f"messages: {len(expected):,} lines were sent, {len(differ):,} differ in the table")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
