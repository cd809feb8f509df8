"""The server's photos, queue and work, and how it is run."""

import threading
from collections.abc import Callable
from pathlib import Path

from dear_jax.inference.progress import Progress
from dear_jax.serve.jobs import Job, Kind, Queue
from dear_jax.serve.photos import PhotoStore, StoredPhoto
from dear_jax.serve.schema import JobState, Photo, Result
from dear_jax.serve.work import Workplace

_SWEEP = 60.0  # Seconds between looks for idle photos.


class Server:
    """What the routes need: photos, the queue and the work.

    Args:
      model, weights: see `Workplace`.
      parent: see `PhotoStore`.
    """

    def __init__(self, model: str | None, weights: str, parent: Path | None = None):
        self.store = PhotoStore(parent)
        self.queue = Queue()
        self._closed = threading.Event()
        try:
            self.work = Workplace(model, weights, self.store)
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._sweep, name="idle photos", daemon=True).start()

    def described(self, photo: StoredPhoto) -> Photo:
        """What is known of a photo."""
        height, width = photo.size
        job, made = self.queue.of_photo(photo.id), photo.restored
        result = made and Result(
            revision=made.revision,
            width=made.size[1],
            height=made.size[0],
            name=made.file.name,
            remarks=made.remarks,
            options=made.options,
        )
        return Photo(
            id=photo.id,
            name=photo.name,
            width=width,
            height=height,
            mask=photo.mask,
            damage=photo.damage,
            job=self.queue.state(job) if job and job.state != "done" else None,
            result=result,
            **photo.about,
        )

    def start(
        self, photo: StoredPhoto, kind: Kind, work: Callable[[Progress], list[str]]
    ) -> JobState:
        """Queues work on a photo."""
        job = Job(photo.id, photo.visitor, kind, work)
        self.queue.add(job)
        return self.queue.state(job)

    def close(self) -> None:
        """Ends all work and removes all files."""
        self._closed.set()
        self.queue.close()
        self.store.close()

    def _sweep(self) -> None:
        def busy(photo: StoredPhoto) -> bool:
            job = self.queue.of_photo(photo.id)
            return job is not None and not job.ended

        while not self._closed.wait(_SWEEP):
            self.store.remove_idle(busy=busy)
