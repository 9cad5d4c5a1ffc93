# SPDX-License-Identifier: MIT
"""Uploads with tuspy: reads a JSON list of uploads from standard input and prints what became of each, as JSON.

An upload is {"endpoint", "file", "stored", "retries", "retryDelay"}: the path of a file, the address at which an
earlier upload of it was stored, or null, and what tuspy does not do unless told to: how often it retries, and after
how many seconds.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from tusclient.client import TusClient


class StoredAddress:
    """What tuspy remembers between runs of a program, for one file."""

    def __init__(self, url):
        self.url = url

    def get_item(self, key):
        return self.url

    def set_item(self, key, url):
        self.url = url

    def remove_item(self, key):
        self.url = None


def upload(options):
    storage = StoredAddress(options["stored"])
    try:
        client = TusClient(options["endpoint"])
        uploader = client.uploader(
            options["file"],
            retries=options["retries"],
            retry_delay=options["retryDelay"],
            store_url=True,
            url_storage=storage,
        )
        uploader.upload()
        return {"result": "success", "url": uploader.url}
    except Exception as error:
        return {"result": "error", "error": str(error)}


with ThreadPoolExecutor(max_workers=16) as pool:
    json.dump(list(pool.map(upload, json.load(sys.stdin))), sys.stdout)
