"""The server of the page: its results are the command's, and it trusts nobody."""

import io
import socket
import sys
import threading
import time
import zipfile
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

from dear_jax import bundled
from dear_jax.cli import serve
from dear_jax.cli.main import main
from dear_jax.errors import InputError
from dear_jax.serve.app import make_app
from dear_jax.serve.jobs import Cancelled, Job, Queue
from dear_jax.serve.photos import PREFIX, PhotoStore, safe_name
from dear_jax.serve.server import Server

HERE = "http://127.0.0.1:8642"
TURNED = Image.Exif()
TURNED[0x0112] = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    return Server(None, "weights", tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def client(server):
    return TestClient(make_app(server), HERE)


def photo(side: int = 48) -> Image.Image:
    return Image.open(bundled.PHOTOS / "cat.png").convert("RGB").resize((side, side))


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def hole(size: tuple[int, int]) -> bytes:
    mask = np.zeros(size, np.uint8)
    mask[size[0] // 3 : size[0] // 2, size[1] // 4 : size[1] // 2] = 255
    return encoded(Image.fromarray(mask))


def add(client, data: bytes, name: str = "cat.png") -> dict:
    answer = client.post("/api/photos", content=data, headers={"X-Name": quote(name)})
    assert answer.status_code == 201, answer.text
    return answer.json()


def done(client, answer) -> dict:
    assert answer.status_code == 202, answer.text
    job = answer.json()
    while job["state"] in ("queued", "running"):
        time.sleep(0.02)
        job = client.get(f"/api/jobs/{job['id']}").json()
    return job


def pixels(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


def restored(client, key: str, **options) -> dict:
    job = done(client, client.post(f"/api/photos/{key}/restore", json=options))
    assert job["state"] == "done", job
    return client.get(f"/api/photos/{key}").json()["result"]


@pytest.mark.parametrize(
    ("name", "data", "options", "flags"),
    [
        ("cat.png", encoded(photo()), {}, []),
        ("cat.png", encoded(photo()), {"scale": 2}, ["--scale", "2"]),
        (
            "turned.jpg",
            encoded(photo(), "JPEG", exif=TURNED, dpi=(300, 300)),
            {"size": [72, 72]},
            ["--size", "72x72"],
        ),
        ("cat.tif", encoded(photo(), "TIFF"), {"scale": 1.5}, ["--scale", "1.5"]),
    ],
)  # fmt: skip
def test_a_result_is_the_commands_to_the_byte(
    client, tmp_path, name, data, options, flags
):
    key = add(client, data, name)["id"]
    mask = hole((48, 48))
    assert client.put(f"/api/photos/{key}/mask", content=mask).json()["mask"]
    result = restored(client, key, **options)
    Path(tmp_path / name).write_bytes(data)
    used = client.get(f"/api/photos/{key}/result/mask").content
    Path(tmp_path / "mask.png").write_bytes(used)
    out = tmp_path / "out" / result["name"]
    photo, given = str(tmp_path / name), str(tmp_path / "mask.png")
    assert main(["restore", photo, "--mask", given, *flags, "-o", str(out)]) == 0
    assert client.get(f"/api/photos/{key}/result/file").content == out.read_bytes()


def test_windows_are_parts_of_the_whole_result(client):
    key = add(client, encoded(photo()))["id"]
    client.put(f"/api/photos/{key}/mask", content=hole((48, 48)))
    restored(client, key, scale=4)
    where = f"/api/photos/{key}/result/picture"
    whole = pixels(client.get(where, params={"width": 192, "height": 192}))
    file = pixels(client.get(f"/api/photos/{key}/result/file"))
    np.testing.assert_array_equal(whole, file)
    part = {"window": "12,6,36,42", "width": 144, "height": 96}
    assert (pixels(client.get(where, params=part)) == whole[48:144, 24:168]).all()
    # Beyond the result's own pixels the model draws: of twice as many, every other
    # pair of pixels lies around one of the result's.
    part |= {"width": 288, "height": 192}
    deep = pixels(client.get(where, params=part)).astype(float)
    pairs = deep.reshape(96, 2, 144, 2, 3).mean((1, 3))
    assert np.abs(pairs - whole[48:144, 24:168]).mean() < 1.0


def test_a_deep_window_is_the_same_part_of_a_larger_result(client):
    key = add(client, encoded(photo()))["id"]
    client.put(f"/api/photos/{key}/mask", content=hole((48, 48)))
    restored(client, key, scale=2)
    part = {"window": "12,6,36,42", "width": 144, "height": 96}
    deep = pixels(client.get(f"/api/photos/{key}/result/picture", params=part))
    restored(client, key, scale=4)
    larger = pixels(client.get(f"/api/photos/{key}/result/file"))
    apart = np.abs(deep.astype(int) - larger[48:144, 24:168])
    assert apart.max() <= 1


def test_damage_found_is_the_commands_and_can_be_the_mask(client, tmp_path):
    image = np.asarray(photo(96)).copy()
    image[40:42, 5:80] = 250
    data = encoded(Image.fromarray(image))
    key = add(client, data)["id"]
    search = {"sensitivity": 0.6, "dilate": 2}
    job = done(client, client.post(f"/api/photos/{key}/damage", json=search))
    assert job["state"] == "done"
    (tmp_path / "a.png").write_bytes(data)
    flags = ["--sensitivity", "0.6", "--dilate", "2", "-o", str(tmp_path / "m.png")]
    assert main(["mask", str(tmp_path / "a.png"), *flags]) == 0
    found = client.get(f"/api/photos/{key}/damage")
    np.testing.assert_array_equal(
        pixels(found), np.asarray(Image.open(tmp_path / "m.png").convert("RGB"))
    )
    assert client.put(f"/api/photos/{key}/mask", content=found.content).json()["mask"]
    given = client.get(f"/api/photos/{key}/mask")
    np.testing.assert_array_equal(pixels(given), pixels(found))


def test_a_plan_says_the_size_or_what_would_fit(client):
    key = add(client, encoded(photo()))["id"]
    plan = client.post(f"/api/photos/{key}/plan", json={"size": [100, 96]}).json()
    assert (plan["width"], plan["height"]) == (100, 96) and not plan["refusal"]
    assert any("shape" in line for line in plan["lines"])
    refused = client.post(f"/api/photos/{key}/plan", json={"size": [10, 10]}).json()
    assert "give at least" in refused["refusal"]


def test_pictures_are_parts_of_the_photo(client):
    image = photo(40)
    key = add(client, encoded(image))["id"]
    where = f"/api/photos/{key}/picture"
    whole = pixels(client.get(where))
    np.testing.assert_array_equal(whole, np.asarray(image))
    part = {"window": "10,4,20,24", "width": 20, "height": 10}
    np.testing.assert_array_equal(
        pixels(client.get(where, params=part)), whole[10:20, 4:24]
    )
    for wrong in ("1,2,3", "0,0,41,40", "5,5,5,6", "a,b,c,d", "nan,0,1,1"):
        answer = client.get(where, params={"window": wrong})
        assert answer.status_code == 422 and "window" in answer.json()["detail"]


def test_a_visitor_finds_photos_again_and_others_do_not(server):
    one, two = (TestClient(make_app(server), HERE) for _ in range(2))
    for visitor in (one, two):
        visitor.get("/")
    key = add(one, encoded(photo(16)))["id"]
    assert [p["id"] for p in one.get("/api/photos").json()] == [key]
    assert two.get("/api/photos").json() == []
    assert one.delete(f"/api/photos/{key}").status_code == 204
    assert one.get(f"/api/photos/{key}").status_code == 404


def test_several_results_are_one_archive_of_names_of_their_own(client):
    keys = [add(client, encoded(photo(16 + i)))["id"] for i in range(2)]
    for key in keys:
        restored(client, key)
    archive = client.get("/api/zip", params={"ids": ",".join(keys)})
    names = zipfile.ZipFile(io.BytesIO(archive.content)).namelist()
    assert names == ["cat-restored.png", "cat-restored-2.png"]


def test_a_result_can_be_gone_on_from(client):
    key = add(client, encoded(photo(16)))["id"]
    restored(client, key, scale=2)
    other = client.post(f"/api/photos/{key}/continue").json()
    assert (other["width"], other["name"]) == (32, "cat-restored.png")
    assert pixels(client.get(f"/api/photos/{key}/result/both")).shape[0] > 16


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8642"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_other_sites_are_refused(client, headers):
    for method, where in (
        ("GET", "/"),
        ("GET", "/api/photos"),
        ("POST", "/api/photos"),
    ):
        answer = client.request(method, where, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["detail"]


def test_other_machines_need_the_token(server):
    app = make_app(server, token="secret")
    client = TestClient(app, "http://192.168.1.7:8642")
    assert client.get("/api/about").status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    assert client.get("/?token=secret").url.query == b""  # The link is followed.
    assert client.get("/api/about").status_code == 200
    client = TestClient(app, "http://192.168.1.7:8642")
    given = {"Authorization": "Bearer secret"}
    assert client.get("/api/about", headers=given).status_code == 200


def test_malformed_uploads_get_a_line_each_and_the_server_lives(client, server):
    rng, before = np.random.default_rng(0), sorted(server.store.folder.iterdir())
    good = encoded(photo(24))
    for i in range(200):
        data = bytearray(good)
        for at in rng.integers(0, len(data), 1 + i % 40):
            data[at] = rng.integers(256)
        data = bytes(data[: rng.integers(0, len(data))])
        answer = client.post("/api/photos", content=data)
        if answer.status_code != 201:
            assert answer.status_code == 422
            assert "\n" not in answer.json()["detail"]
            assert str(server.store.folder) not in answer.json()["detail"]
        else:
            client.delete(f"/api/photos/{answer.json()['id']}")
    assert sorted(server.store.folder.iterdir()) == before
    add(client, good)


def test_bombs_and_paths_are_refused(client, monkeypatch):
    monkeypatch.setattr("dear_jax.serve.photos.MAX_PIXELS", 100)
    answer = client.post("/api/photos", content=encoded(photo(16)))
    assert answer.status_code == 422 and "100 pixels" in answer.json()["detail"]
    monkeypatch.undo()
    monkeypatch.setattr("dear_jax.serve.app.MAX_BYTES", 100)
    answer = client.post("/api/photos", content=encoded(photo(16)))
    assert answer.status_code == 413
    monkeypatch.undo()
    for path in ("/../app.py", "/%2e%2e/app.py", "/api/photos/../../etc/passwd"):
        assert client.get(path).status_code == 404
    key = add(client, encoded(photo(16)), "../../../etc/pass\0wd.png")["id"]
    assert client.get(f"/api/photos/{key}").json()["name"].endswith("wd.png")


def test_a_full_disk_and_too_many_photos_are_said(client, monkeypatch):
    monkeypatch.setattr("dear_jax.serve.photos._ROOM", 1 << 60)
    answer = client.post("/api/photos", content=encoded(photo(16)))
    assert answer.status_code == 422 and "make room" in answer.json()["detail"]
    monkeypatch.undo()
    monkeypatch.setattr("dear_jax.serve.photos.MAX_PHOTOS", 0)
    answer = client.post("/api/photos", content=encoded(photo(16)))
    assert answer.status_code == 422 and "remove some" in answer.json()["detail"]


def test_names_are_files_names(tmp_path):
    for name in ("../a.png", "C:\\x\\a.png", "a.png", "/a.png"):
        assert safe_name(name) == "a.png"
    for name in ("", "..", "a", 'x"<>|?*:y.jpg', "con\n.png", "é" * 300 + ".jpg"):
        (tmp_path / safe_name(name)).touch()


def test_fifty_uploads_at_once_arrive(client):
    data, answers = encoded(photo(32)), []

    def upload():
        answers.append(client.post("/api/photos", content=data).status_code)

    threads = [threading.Thread(target=upload) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [201] * 50


def test_a_mask_of_another_size_changes_nothing(client):
    key = add(client, encoded(photo()))["id"]
    client.put(f"/api/photos/{key}/mask", content=hole((48, 48)))
    before = client.get(f"/api/photos/{key}").json()
    answer = client.put(f"/api/photos/{key}/mask", content=hole((47, 48)))
    assert answer.status_code == 422 and "48 x 48" in answer.json()["detail"]
    assert client.get(f"/api/photos/{key}").json() == before


# The queue.


def test_visitors_take_turns_and_one_job_runs_at_a_time():
    queue, order, begin = Queue(), [], threading.Event()

    def wait(name: str, progress) -> list[str]:
        begin.wait(5)
        order.append(name)
        return []

    names = ["a0", "a1", "a2", "b0", "b1"]
    jobs = [Job(n, n[0], "restore", partial(wait, n)) for n in names]
    queue.add(jobs[0])
    while jobs[0].state != "running":
        time.sleep(0.005)
    for job in jobs[1:]:
        queue.add(job)
    assert [queue.state(job).ahead for job in jobs] == [0, 1, 3, 2, 4]
    begin.set()
    while not all(job.ended for job in jobs):
        time.sleep(0.005)
    assert order == ["a0", "a1", "b0", "a2", "b1"]
    queue.close()


def test_a_cancelled_job_ends_at_its_next_progress():
    queue, ended = Queue(), threading.Event()

    def work(progress):
        try:
            while True:
                progress(1, 2)
                time.sleep(0.005)
        except Cancelled:
            ended.set()
            raise

    job = Job("photo", "a", "restore", work)
    queue.add(job)
    while job.state != "running":
        time.sleep(0.005)
    queue.cancel(job)
    assert job.state == "cancelled" and ended.wait(5)
    after = Job("photo", "a", "restore", lambda progress: ["fine"])
    queue.add(after)
    while not after.ended:
        time.sleep(0.005)
    assert (after.state, after.message) == ("done", "fine")
    queue.close()


@pytest.mark.parametrize(
    "error", [InputError("too large"), ValueError("x"), MemoryError()]
)
def test_a_failing_job_says_why_and_the_next_runs(error):
    def fail(progress):
        raise error

    queue = Queue()
    jobs = [Job("p", "a", "damage", fail), Job("q", "a", "damage", lambda p: [])]
    for job in jobs:
        queue.add(job)
    while not all(job.ended for job in jobs):
        time.sleep(0.005)
    assert jobs[0].state == "failed" and jobs[0].message
    assert jobs[1].state == "done"
    queue.close()


# The files.


def test_files_go_with_the_store_and_after_an_hours_idleness(tmp_path):
    store = PhotoStore(tmp_path)
    file = tmp_path / "upload"
    file.write_bytes(encoded(photo(16)))
    kept = store.add(file, "a.png", "me")
    store.remove_idle()
    assert store.find(kept.id) is kept
    store.remove_idle(seconds=0)
    with pytest.raises(KeyError):
        store.find(kept.id)
    assert not kept.folder.exists()
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_new_store_removes_what_killed_ones_left_and_not_those_that_run(tmp_path):
    running = PhotoStore(tmp_path)
    killed = tmp_path / (PREFIX + "killed")
    killed.mkdir()
    (killed / "running").touch()
    other = PhotoStore(tmp_path)
    assert not killed.exists() and running.folder.exists()
    for store in (running, other):
        store.close()


# The command.


def test_without_the_extra_it_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve"]) == 2
    assert "pip install 'dear_jax[serve]'" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--port", "70000"], ["--host", "no.such.host.x"]])
def test_what_cannot_be_listened_on_is_named(flags, capsys):
    assert main(["serve", *flags]) == 2
    assert flags[1] in capsys.readouterr().err


def test_a_port_that_is_taken_is_named_or_passed_over(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
        assert f"--port {port}: cannot be had" in capsys.readouterr().err
    with serve._listening("127.0.0.1", None) as one:
        with serve._listening("127.0.0.1", None) as other:
            assert one.getsockname() != other.getsockname()
