"""What the server and its clients exchange, as JSON."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Level = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=1, le=1_000_000)]


class About(BaseModel):
    """What this server is.

    Attributes:
      version: of the program.
      model: its name.
      denoise, texture: whether the model has these.
      max_bytes, max_pixels: of a photo.
      formats: suffixes of files that results can be written in.
    """

    version: str
    model: str
    denoise: bool
    texture: bool
    max_bytes: int
    max_pixels: int
    formats: list[str]


class Options(BaseModel):
    """How a photo is to be restored; what is left out has the command's default.

    Attributes:
      scale: times the sides.
      size: of the result, (width, height).
      denoise: how degraded the photo is, from 0 to 1, or "auto".
      texture: between true to the photo, 0, and looking real, 1.
      keep_known: whether known pixels stay.
      grain: whether what is filled in gets the grain of its surroundings.
    """

    model_config = ConfigDict(extra="forbid")

    scale: Annotated[float, Field(ge=1, le=64)] | None = None
    size: tuple[Side, Side] | None = None
    denoise: Level | Literal["auto"] | None = None
    texture: Level = 0.0
    keep_known: bool | None = None
    grain: bool = False


class Search(BaseModel):
    """How damage is to be found.

    Attributes:
      sensitivity: from 0, only what is certain, to 1.
      dilate: pixels by which what is found is widened.
    """

    model_config = ConfigDict(extra="forbid")

    sensitivity: Level = 0.5
    dilate: Annotated[int, Field(ge=0, le=50)] = 1


class JobState(BaseModel):
    """A piece of work on a photo.

    Attributes:
      id: its name.
      photo: of the photo.
      kind: what is done.
      state: how far it is.
      ahead: jobs that come before it.
      progress: from 0 to 1.
      seconds_left: about; None while nothing is known.
      message: what went wrong, or remarks, in sentences.
    """

    id: str
    photo: str
    kind: Literal["damage", "restore"]
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    ahead: int = 0
    progress: float = 0.0
    seconds_left: float | None = None
    message: str = ""


class Result(BaseModel):
    """What was made of a photo.

    Attributes:
      revision: another for each result.
      width, height: of it.
      name: of its file.
      remarks: sentences about it.
      options: that it was made with.
    """

    revision: int
    width: int
    height: int
    name: str
    remarks: list[str]
    options: Options


class Photo(BaseModel):
    """A photo on the server.

    Attributes:
      id: its name; whoever knows it may see the photo.
      name: of its file.
      width, height: upright.
      bits: of each number, 8 or 16.
      grey: whether it has one channel.
      format: of its file, such as "JPEG".
      remarks: sentences about it.
      mask: revision of the mask; 0: nothing is marked.
      damage: revision of the damage that was found; 0: none was looked for.
      job: the one that waits or runs, or the last if that failed.
      result: of the last restoration.
    """

    id: str
    name: str
    width: int
    height: int
    bits: int
    grey: bool
    format: str
    remarks: list[str]
    mask: int = 0
    damage: int = 0
    job: JobState | None = None
    result: Result | None = None


class PlanAnswer(BaseModel):
    """What a restoration would be.

    Attributes:
      width, height: of the result; 0 if it is refused.
      seconds: about; None while nothing is known.
      bytes: of memory at the peak; 0 if it is not known.
      lines: the plan in sentences.
      refusal: why it cannot be, and what would fit; None if it can.
    """

    width: int = 0
    height: int = 0
    seconds: float | None = None
    bytes: int = 0
    lines: list[str] = []
    refusal: str | None = None
