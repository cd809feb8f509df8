"""What waiting at the page is: seconds of a server of its own, from another process.

    python benchmarks/page.py [--photo large.jpg]

First on an empty compile cache: a photo of 256 x 256, restored x4 at once after it was
added (nobody had time to paint), to the first picture of the result; then again, warm;
then windows beyond the result's pixels. With --photo also a large one: to its picture,
damage found, and restored at its own size, with the server's memory at the peak.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from dear_jax import bundled


def main() -> None:
    flags = parse()
    with tempfile.TemporaryDirectory() as cache:
        server, at = start(cache)
        try:
            small = (bundled.PHOTOS / "cat.png").read_bytes()
            for state in ("empty compile cache", "warm"):
                report(
                    f"256 to 1024, {state}", lambda: restored(at, small, {"scale": 4})
                )
            photo = restored(at, small, {"scale": 4})
            windows(at, photo)
            if flags.photo:
                large(at, flags.photo.read_bytes())
            status = Path(f"/proc/{server.pid}/status").read_text()
            print("peak of the server:", re.findall(r"VmHWM:\s+(.*)", status)[0])
        finally:
            server.terminate()
            server.wait()


def start(cache: str) -> tuple[subprocess.Popen, str]:
    """A server that has answered, and where its API is."""
    began = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-m", "dear_jax", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": cache},
    )
    assert server.stdout
    at = re.findall(r"http://\S+", server.stdout.readline())[0] + "api"
    print(f"address printed: {time.perf_counter() - began:.2f} s")
    ask(f"{at}/about")
    print(f"first answer: {time.perf_counter() - began:.2f} s")
    return server, at


def large(at: str, data: bytes) -> None:
    """Times what is done with a large photo."""
    photo: dict = {}
    report("large photo: added", lambda: photo.update(add(at, data)))
    where = f"{at}/photos/{photo['id']}"
    print(f"{photo['width']} x {photo['height']} pixels")
    report("its picture", lambda: ask(f"{where}/picture?width=1440&height=1080"))
    report("damage found", lambda: done(at, post(f"{where}/damage", {})))
    mask = np.zeros((photo["height"], photo["width"]), np.uint8)
    rng = np.random.default_rng(0)
    for y, x in zip(*(rng.integers(0, n - 400, 60) for n in mask.shape), strict=True):
        mask[y : y + 3, x : x + 400] = 255
    put_mask(where, mask)
    report("restored at its own size", lambda: done(at, post(f"{where}/restore", {})))


def windows(at: str, photo: dict) -> None:
    """Times windows at more pixels than the result has."""
    where = f"{at}/photos/{photo['id']}/result/picture"
    for i, left in enumerate((100, 110, 120)):
        view = f"window=100,{left},160,{left + 90}&width=1080&height=720"
        report(
            f"window {i + 1} of 1080 x 720", lambda view=view: ask(f"{where}?{view}")
        )


def restored(at: str, data: bytes, options: dict) -> dict:
    """Adds a photo, restores it and fetches the first picture of the result."""
    photo = add(at, data)
    where = f"{at}/photos/{photo['id']}"
    mask = np.zeros((photo["height"], photo["width"]), np.uint8)
    mask[40:50, 30:200] = 255
    put_mask(where, mask)
    done(at, post(f"{where}/restore", options))
    ask(f"{where}/result/picture?width=800&height=800")
    return photo


def add(at: str, data: bytes) -> dict:
    return ask(f"{at}/photos", data, "POST", {"X-Name": quote("photo.jpg")})


def put_mask(where: str, mask: np.ndarray) -> None:
    file = BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    ask(f"{where}/mask", file.getvalue(), "PUT")


def post(where: str, options: dict) -> dict:
    kind = {"Content-Type": "application/json"}
    return ask(where, json.dumps(options).encode(), "POST", kind)


def done(at: str, job: dict) -> None:
    while job["state"] in ("queued", "running"):
        time.sleep(0.05)
        job = ask(f"{at}/jobs/{job['id']}")
    assert job["state"] == "done", job


def ask(where: str, data=None, method: str = "GET", headers=None):
    request = urllib.request.Request(where, data, headers or {}, method=method)
    with urllib.request.urlopen(request) as answer:
        body = answer.read()
        is_json = answer.headers.get_content_type() == "application/json"
    return json.loads(body) if is_json else body


def report(what: str, work) -> None:
    began = time.perf_counter()
    work()
    print(f"{what}: {time.perf_counter() - began:.2f} s", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", type=Path, help="a large photo")
    return parser.parse_args()


if __name__ == "__main__":
    main()
