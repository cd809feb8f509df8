"""A profile of a few steps: what host and devices did when."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import jax

# Steps left alone first, which compile and warm up, and steps traced.
BEFORE, STEPS = 5, 5
PERFETTO = "perfetto_trace.json.gz"


class Trace:
    """Traces some steps of a run; a context manager.

    Args:
      workdir: folder of the run; the trace goes to profile/ in it, beside those of
        earlier starts. None traces nothing, and costs nothing.
      start: step after which the run begins or goes on.
      say: is told where the trace is and how to look at it.
    """

    def __init__(self, workdir: Path | None, start: int, say: Callable[[str], None]):
        self._folder = workdir and (workdir / "profile").absolute()
        self._first = start + BEFORE + 1
        self._say = say
        self._tracing = False

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *error) -> None:
        if self._tracing:
            self._stop()
        elif self._folder:
            self._say(f"no profile: the run ended before step {self._first}")

    def step(self, step: int) -> contextlib.AbstractContextManager:
        """To be entered with each step; what it computes is traced if it is time.

        Other work of the loop, such as fetching data, is traced too.
        """
        if self._folder is None:
            return contextlib.nullcontext()
        if step == self._first:
            self._start()
        if not self._tracing:
            return contextlib.nullcontext()
        return self._traced(step)

    @contextlib.contextmanager
    def _traced(self, step: int):
        with jax.profiler.StepTraceAnnotation("train", step_num=step):
            yield
        if step >= self._first + STEPS - 1:
            self._stop()

    def _start(self) -> None:
        _finish_work()
        try:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._tracing = True
        except (OSError, RuntimeError) as error:
            self._fail(error)

    def _stop(self) -> None:
        self._tracing = False
        try:
            _finish_work()
            jax.profiler.stop_trace()
            newest = max(self._folder.glob(f"plugins/profile/*/{PERFETTO}"))
        except (OSError, RuntimeError, ValueError) as error:
            self._fail(error)
            return
        self._say(
            f"profile from step {self._first} on: {newest}; open it at "
            "https://ui.perfetto.dev, or see more of it with XProf: "
            f"pip install xprof; xprof --logdir {self._folder}"
        )
        self._folder = None

    def _fail(self, error: Exception) -> None:
        reason = " ".join(str(error).split())[:120]
        self._say(f"no profile: {self._folder} cannot be written ({reason})")
        self._folder = None


def _finish_work() -> None:
    """Waits until the devices have done all they were given."""
    jax.block_until_ready(jax.live_arrays())
