"""The server's routes: what the page, or any other client, can ask for."""

import secrets
import shutil
import tempfile
import zipfile
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from PIL import Image
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

import dear_jax
from dear_jax.errors import InputError
from dear_jax.evaluation.sheets import draw_preview
from dear_jax.images.io import FORMATS
from dear_jax.images.masks import read_mask
from dear_jax.serve.guard import Guard
from dear_jax.serve.jobs import Job
from dear_jax.serve.photos import (
    MAX_BYTES,
    MAX_PIXELS,
    StoredPhoto,
    picture,
)
from dear_jax.serve.schema import (
    About,
    JobState,
    Options,
    Photo,
    PlanAnswer,
    Search,
)
from dear_jax.serve.server import Server
from dear_jax.serve.work import Window

PAGE = Path(__file__).parent / "page"
VISIT = "dear_visit"
_MOST_SHOWN = 4096  # Pixels of a picture's side.
_USUAL_SHOWN = 2048
_SMALL = 1_500_000  # Pixels up to which a photo is shown without loss.
DESCRIPTION = """\
Restores photographs on this machine. Coordinates are pixels of the photo as it came,
upright; a window is "top,left,bottom,right". What goes wrong is said in `detail`, in a
sentence."""


def make_app(server: Server, token: str = "") -> FastAPI:
    """The application.

    Args:
      server: what it works with.
      token: see `Guard`.
    """

    app = FastAPI(
        title="dear_jax",
        version=dear_jax.__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
    )
    app.state.server = server
    app.add_middleware(Guard, token=token)
    app.add_exception_handler(InputError, _refuse)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.include_router(photos)
    app.include_router(results)

    @app.get("/api/about")
    def about() -> About:
        """What this server is."""
        return About(
            version=dear_jax.__version__,
            model=server.work.restorer.name,
            denoise=server.work.restorer.takes_denoise,
            texture=server.work.has_texture,
            max_bytes=MAX_BYTES,
            max_pixels=MAX_PIXELS,
            formats=sorted(FORMATS),
        )

    @app.get("/docs", include_in_schema=False)
    def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html")

    @app.get("/", include_in_schema=False)
    def index(request: Request) -> FileResponse:
        answer = FileResponse(PAGE / "index.html")
        if VISIT not in request.cookies:
            key = secrets.token_urlsafe(12)
            answer.set_cookie(VISIT, key, httponly=True, samesite="strict")
        return answer

    app.mount("/", StaticFiles(directory=PAGE), name="page")
    return app


def _refuse(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": " ".join(str(error).split())}, 422)


def _gone(request: Request, error: Exception) -> Response:
    """Of a body that ended early: nobody is there to be answered."""
    return Response(status_code=400)


def _server(request: Request) -> Server:
    return request.app.state.server


def _visitor(request: Request) -> str:
    return request.cookies.get(VISIT, "")


def _photo(key: str, server: Annotated[Server, Depends(_server)]) -> StoredPhoto:
    try:
        return server.store.find(key)
    except KeyError:
        detail = "this photo is not here any more; open it again"
        raise HTTPException(404, detail) from None


def _restored(photo: Annotated[StoredPhoto, Depends(_photo)]) -> StoredPhoto:
    if photo.restored is None:
        raise HTTPException(404, "this photo is not restored yet; restore it first")
    return photo


Here = Annotated[Server, Depends(_server)]
Visitor = Annotated[str, Depends(_visitor)]
OnePhoto = Annotated[StoredPhoto, Depends(_photo)]
OneResult = Annotated[StoredPhoto, Depends(_restored)]
photos = APIRouter(prefix="/api", tags=["photos"])
results = APIRouter(prefix="/api", tags=["results"])


async def _body(request: Request, file) -> None:
    """Writes a request's body to a file; 413 beyond `MAX_BYTES`."""
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BYTES:
            detail = f"more than {MAX_BYTES >> 20} MiB; use the command dear restore"
            raise HTTPException(413, detail)
        await run_in_threadpool(file.write, part)


@photos.post("/photos", status_code=201)
async def add_photo(
    request: Request,
    server: Here,
    visitor: Visitor,
    x_name: Annotated[str, Header()] = "photo",
) -> Photo:
    """Adds a photo: the body is its file, X-Name its name, percent-encoded."""
    with tempfile.NamedTemporaryFile(dir=server.store.folder, delete=False) as file:
        path = Path(file.name)
        try:
            await _body(request, file)
            file.flush()
            add = partial(server.store.add, path, unquote(x_name), visitor)
            photo = await run_in_threadpool(add)
        finally:
            path.unlink(missing_ok=True)
    server.queue.add_quiet(partial(server.work.compile_for, photo))
    return server.described(photo)


@photos.get("/photos")
def list_photos(server: Here, visitor: Visitor) -> list[Photo]:
    """The photos of this visit, oldest first."""
    mine = server.store.of_visitor(visitor) if visitor else []
    return [server.described(photo) for photo in mine]


@photos.get("/photos/{key}")
def get_photo(server: Here, photo: OnePhoto) -> Photo:
    """What is known of a photo."""
    return server.described(photo)


@photos.delete("/photos/{key}", status_code=204)
def remove_photo(server: Here, photo: OnePhoto) -> None:
    """Removes a photo and all that belongs to it."""
    job = server.queue.of_photo(photo.id)
    if job:
        server.queue.cancel(job)
    server.store.remove(photo)


@photos.get("/photos/{key}/picture")
def get_picture(
    server: Here,
    photo: OnePhoto,
    window: str = "",
    width: int = 0,
    height: int = 0,
) -> Response:
    """A part of a photo in 8 bits, as PNG, or JPEG if it is large."""
    where, size = _view(photo, window, (height, width))
    drawn = picture(server.store.image(photo.file), where, size)
    return _image(drawn, lossless=size[0] * size[1] <= _SMALL)


@photos.get("/photos/{key}/mask")
def get_mask(photo: OnePhoto) -> Response:
    """What is marked as missing: PNG, 255 = missing."""
    return _image(Image.fromarray(photo.read_mask().astype(np.uint8) * 255))


@photos.put("/photos/{key}/mask")
async def set_mask(request: Request, server: Here, photo: OnePhoto) -> Photo:
    """Marks what is missing: the body is an image file of the photo's size."""
    with tempfile.TemporaryFile(dir=server.store.folder) as file:
        await _body(request, file)
        file.seek(0)
        await run_in_threadpool(server.store.set_mask, photo, file.read())
    return server.described(photo)


@photos.delete("/photos/{key}/mask")
def clear_mask(server: Here, photo: OnePhoto) -> Photo:
    """Marks nothing."""
    server.store.set_mask(photo, None)
    return server.described(photo)


@photos.post("/photos/{key}/damage", status_code=202)
def find_damage(server: Here, photo: OnePhoto, search: Search) -> JobState:
    """Looks for damage; it is at GET .../damage when the job is done."""
    work = partial(server.work.find_damage, photo, search)
    return server.start(photo, "damage", work)


@photos.get("/photos/{key}/damage")
def get_damage(photo: OnePhoto) -> Response:
    """The damage that was found: PNG, 255 = damaged."""
    if not photo.damage:
        raise HTTPException(404, "no damage was looked for yet")
    return FileResponse(photo.damage_file)


@photos.post("/photos/{key}/plan")
def plan(server: Here, photo: OnePhoto, options: Options) -> PlanAnswer:
    """What restoring would take: size, seconds, memory; or why it cannot be."""
    return server.work.plan(photo, options)


@photos.post("/photos/{key}/restore", status_code=202)
def restore(server: Here, photo: OnePhoto, options: Options) -> JobState:
    """Restores a photo with what is marked now."""
    work = partial(server.work.restore, photo, options)
    return server.start(photo, "restore", work)


@photos.get("/jobs/{key}")
def get_job(server: Here, key: str) -> JobState:
    """How far a job is."""
    return server.queue.state(_job(server, key))


@photos.delete("/jobs/{key}")
def cancel_job(server: Here, key: str) -> JobState:
    """Cancels a job."""
    job = _job(server, key)
    server.queue.cancel(job)
    return server.queue.state(job)


@results.get("/photos/{key}/result/picture")
def get_result_picture(
    server: Here,
    photo: OneResult,
    window: str = "",
    width: int = 0,
    height: int = 0,
) -> Response:
    """A part of the result, its window in pixels of the photo.

    At more pixels than the result has there, the model draws it anew.
    """
    where, size = _view(photo, window, (height, width))
    return _image(server.work.result_picture(photo, where, size))


@results.get("/photos/{key}/result/file")
def get_file(photo: OneResult) -> FileResponse:
    """The result as `dear restore` writes it."""
    assert photo.restored is not None
    return FileResponse(photo.restored.file, filename=photo.restored.file.name)


@results.get("/photos/{key}/result/mask")
def get_used_mask(photo: OneResult) -> FileResponse:
    """The mask that the result was made with: PNG, white = missing."""
    assert photo.restored is not None
    name = f"{photo.file.stem}-mask.png"
    return FileResponse(photo.restored.mask, filename=name)


@results.get("/photos/{key}/result/both")
def get_both(server: Here, photo: OneResult) -> FileResponse:
    """Photo and result side by side: PNG."""
    made = photo.restored
    assert made is not None
    path = made.file.with_name("both.png")
    if not path.exists():
        before, after = (server.store.image(f) for f in (photo.file, made.file))
        draw_preview(path, before.image, read_mask(made.mask), after.image)
    return FileResponse(path, filename=f"{photo.file.stem}-before-after.png")


@results.post("/photos/{key}/continue", status_code=201)
def go_on(server: Here, photo: OneResult, visitor: Visitor) -> Photo:
    """Makes the result a photo of its own, to go on from."""
    assert photo.restored is not None
    with tempfile.NamedTemporaryFile(dir=server.store.folder, delete=False) as file:
        path = Path(file.name)
    shutil.copyfile(photo.restored.file, path)
    try:
        other = server.store.add(path, photo.restored.file.name, visitor)
    finally:
        path.unlink(missing_ok=True)
    return server.described(other)


@results.get("/zip")
def get_zip(server: Here, ids: Annotated[str, Query()]) -> FileResponse:
    """The results of several photos, ids with commas between."""
    made = [_photo(key, server).restored for key in ids.split(",")]
    with tempfile.NamedTemporaryFile(dir=server.store.folder, delete=False) as file:
        path = Path(file.name)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, result in _unique_names([m for m in made if m is not None]):
                archive.write(result, name)
    gone = BackgroundTask(path.unlink, missing_ok=True)
    return FileResponse(path, filename="restored.zip", background=gone)


def _unique_names(made) -> list[tuple[str, Path]]:
    """A name of its own for each result."""
    named: dict[str, Path] = {}
    for result in made:
        file, number = result.file, 1
        name = file.name
        while name in named:
            number += 1
            name = f"{file.stem}-{number}{file.suffix}"
        named[name] = file
    return list(named.items())


def _job(server: Server, key: str) -> Job:
    try:
        return server.queue.find(key)
    except KeyError:
        raise HTTPException(404, "this job is not known any more") from None


def _view(
    photo: StoredPhoto, window: str, size: tuple[int, int]
) -> tuple[Window, tuple[int, int]]:
    """The window and size of a picture that is asked for; checked."""
    height, width = photo.size
    try:
        top, left, bottom, right = (
            map(float, window.split(",")) if window else (0.0, 0.0, height, width)
        )
    except ValueError:
        raise HTTPException(
            422, f"window={window}: give top,left,bottom,right"
        ) from None
    inside = 0 <= top < bottom <= height and 0 <= left < right <= width
    if not inside:
        detail = (
            f"window={window}: give a part of the photo's {width} x {height} pixels"
        )
        raise HTTPException(422, detail)
    rows, columns = size
    if not rows or not columns:
        shrink = min(1.0, _USUAL_SHOWN / max(bottom - top, right - left))
        rows, columns = round((bottom - top) * shrink), round((right - left) * shrink)
    if not (0 < rows <= _MOST_SHOWN and 0 < columns <= _MOST_SHOWN):
        detail = f"{columns} x {rows}: give 1 to {_MOST_SHOWN} pixels a side"
        raise HTTPException(422, detail)
    return (top, left, bottom, right), (rows, columns)


def _image(drawn: Image.Image, lossless: bool = True) -> Response:
    """A picture as the body of an answer."""
    data = BytesIO()
    if lossless:
        drawn.save(data, "PNG", compress_level=1)
        return Response(data.getvalue(), media_type="image/png")
    drawn.save(data, "JPEG", quality=93, subsampling=0)
    return Response(data.getvalue(), media_type="image/jpeg")
