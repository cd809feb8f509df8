"""The queue of jobs: one at a time, in turn for each visitor."""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from dear_jax.errors import InputError
from dear_jax.inference.progress import Progress
from dear_jax.serve.schema import JobState

Kind = Literal["damage", "restore"]
# Does the work; returns remarks, a sentence each. It calls the progress often, which
# raises `Cancelled` when the job is.
Work = Callable[[Progress], list[str]]
# Share of the work from which the time left is estimated.
_EARLY = 0.03
# Jobs that ended are remembered, the newest of so many.
_REMEMBERED = 2000


class Cancelled(Exception):
    """The job was cancelled: whatever is under way ends here."""


class Job:
    """A piece of work on a photo.

    Attributes:
      id: a random name.
      photo: of the photo.
      visitor: whose turn it takes.
      kind: what is done.
      state: see `JobState`.
      progress: from 0 to 1.
      message: what went wrong, or remarks.
    """

    def __init__(self, photo: str, visitor: str, kind: Kind, work: Work):
        self.id = secrets.token_urlsafe(12)
        self.photo, self.visitor, self.work = photo, visitor, work
        self.kind: Kind = kind
        self.state: Literal["queued", "running", "done", "failed", "cancelled"]
        self.state, self.progress, self.message = "queued", 0.0, ""
        self._began = 0.0

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state not in ("queued", "running")

    @property
    def seconds_left(self) -> float | None:
        """About; None while nothing is known."""
        if self.state != "running" or self.progress < _EARLY:
            return None
        elapsed = time.monotonic() - self._began
        return elapsed * (1 - self.progress) / self.progress

    def run(self) -> None:
        """Does the work; what goes wrong becomes its message."""
        self._began = time.monotonic()
        try:
            remarks = self.work(self._advance)
            self._end("done", "\n".join(remarks))
        except Cancelled:
            pass
        except InputError as error:
            self._end("failed", " ".join(str(error).split()))
        except MemoryError:
            self._end("failed", "memory was not enough; choose a smaller size")
        except Exception as error:  # The server goes on, whatever happens.
            said = f"the program failed ({type(error).__name__}: {error})"
            self._end("failed", f"{said}; the photo and its marks are still there")

    def _advance(self, done: float, total: float) -> None:
        if self.ended:
            raise Cancelled
        self.progress = min(done / total, 1.0) if total else 0.0

    def _end(self, state: Literal["done", "failed"], message: str) -> None:
        if not self.ended:
            self.message, self.state = message, state


class Queue:
    """Runs jobs one by one, in a thread of its own."""

    def __init__(self):
        self._waiting: dict[str, deque[Job]] = {}  # Of each visitor, in turn.
        self._quiet: deque[Callable[[], object]] = deque()
        self._jobs: dict[str, Job] = {}
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._work, name="jobs", daemon=True).start()

    def add(self, job: Job) -> None:
        """Adds a job; one of the same photo that waits or runs is cancelled."""
        with self._changed:
            for other in list(self._jobs.values()):
                if other.photo == job.photo and not other.ended:
                    self._cancel(other)
            self._jobs[job.id] = job
            for old in list(self._jobs.values())[:-_REMEMBERED]:
                if old.ended:
                    del self._jobs[old.id]
            self._waiting.setdefault(job.visitor, deque()).append(job)
            self._changed.notify()

    def add_quiet(self, work: Callable[[], object]) -> None:
        """Adds what is done while no job waits; if it fails, nobody is the worse."""
        with self._changed:
            self._quiet.append(work)
            self._changed.notify()

    def find(self, name: str) -> Job:
        """The job of that name.

        Raises:
          KeyError: if there is none.
        """
        return self._jobs[name]

    def of_photo(self, photo: str) -> Job | None:
        """The newest job of a photo."""
        jobs = [job for job in list(self._jobs.values()) if job.photo == photo]
        return jobs[-1] if jobs else None

    def cancel(self, job: Job) -> None:
        """Cancels a job: at once for whoever looks, soon for the processor."""
        with self._changed:
            self._cancel(job)

    def state(self, job: Job) -> JobState:
        """What is known of a job."""
        return JobState(
            id=job.id,
            photo=job.photo,
            kind=job.kind,
            state=job.state,
            ahead=self._ahead(job),
            progress=job.progress,
            seconds_left=job.seconds_left,
            message=job.message,
        )

    def close(self) -> None:
        """Cancels all, and takes no more."""
        with self._changed:
            self._closed = True
            for job in list(self._jobs.values()):
                self._cancel(job)
            self._changed.notify()

    def _cancel(self, job: Job) -> None:
        if not job.ended:
            job.state = "cancelled"
        waiting = self._waiting.get(job.visitor)
        if waiting and job in waiting:
            waiting.remove(job)

    def _ahead(self, job: Job) -> int:
        with self._changed:
            if job.state != "queued":
                return 0
            turns = [list(jobs) for jobs in self._waiting.values()]
            order = [
                (place, turn, each)
                for turn, jobs in enumerate(turns)
                for place, each in enumerate(jobs)
            ]
            order.sort(key=lambda entry: entry[:2])
            before = [each for _, _, each in order]
            running = self._running is not None
            return before.index(job) + running if job in before else 0

    def _next(self) -> Job | None:
        """The next job, whose visitor's next turn comes after all others'."""
        for visitor in list(self._waiting):
            jobs = self._waiting.pop(visitor)
            if jobs:
                job = jobs.popleft()
                if jobs:
                    self._waiting[visitor] = jobs
                return job
        return None

    def _work(self) -> None:
        while not self._closed:
            with self._changed:
                self._running = job = self._next()
                quiet = self._quiet.popleft() if not job and self._quiet else None
                if job:
                    job.state = "running"
                elif not quiet:
                    self._changed.wait()
            if job:
                job.run()
            elif quiet:
                with suppress(Exception):
                    quiet()
