"""Copies the objects below a prefix of a bucket into a folder, for readers that have no S3 of their own.

    hack/python hack/fetch_bucket.py BUCKET/PREFIX/ FOLDER      with AWS_ENDPOINT, the AWS_* keys, and maybe AWS_CA_BUNDLE
"""

import os
import pathlib
import sys
import urllib.parse

import minio
import urllib3


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    bucket, prefix = sys.argv[1].split("/", 1)
    folder = pathlib.Path(sys.argv[2])
    endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT"])
    client = minio.Minio(
        endpoint.netloc,
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        secure=endpoint.scheme == "https",
        region=os.environ.get("AWS_REGION", "us-east-1"),
        http_client=urllib3.PoolManager(ca_certs=os.environ.get("AWS_CA_BUNDLE")),
    )
    copied = 0
    for entry in client.list_objects(bucket, prefix=prefix, recursive=True):
        client.fget_object(bucket, entry.object_name, str(folder / entry.object_name.removeprefix(prefix)))
        copied += 1
    if not copied:
        sys.exit(f"s3://{bucket}/{prefix} holds nothing")
    print(f"fetched {copied:,} objects of s3://{bucket}/{prefix}")


if __name__ == "__main__":
    main()
