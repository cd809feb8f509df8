"""What can be said of how photos are restored."""

from dataclasses import dataclass

from dear_jax.images.pairing import MissingMasks


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """Which photos are restored, and how: a field for each flag.

    Attributes:
      photos: files and folders.
      recursive: whether subfolders of folders are searched.
      part: (i, n), the part i of n of the photos, from 1.
      model: see `dear_jax.load`; None for its default.
      weights: the folder in which systems find their weights.
      texture: between the fidelity weights, 0, and the texture weights, 1.
      scale, size, fit: of the result, the last two as (h, w): of `size` one may be
        None, and follows from the photo's shape; `fit` is what a result of the photo's
        shape lies in. At most one of them, none for the photo's size.
      mask: file or folder of masks, None if there is none.
      missing_masks: what becomes of photos without mask, see `MissingMasks`; None:
        they are a mistake.
      find_damage: whether damage is found, beside what is marked if something is.
      sensitivity: with which, see `dear_jax.inference.damage.damaged`; None: its
        default.
      box, mask_color, mask_alpha, invert_mask, dilate: see
        `dear_jax.images.masks.find_mask`; dilate None: 0, and 1 for damage found.
      salvage: whether JPEG files that lack their end are read, and that is missing.
      denoise: level of degradation in [0, 1], "auto", or None for the default, see
        `dear_jax.inference.denoise`.
      out: file or folder of results, None for beside the photos.
      overwrite: whether results that exist are made again.
      keep_known: whether results agree with known pixels; None: at the photo's size.
      grain: whether what is filled in gets the grain of its surroundings.
      preview, importance, record: whether to write them beside the result.
      max_memory: bytes, None for what the machine has.
    """

    photos: list[str]
    recursive: bool = False
    part: tuple[int, int] = (1, 1)
    model: str | None = None
    weights: str = "weights"
    texture: float = 0.0
    scale: float | None = None
    size: tuple[int | None, int | None] | None = None
    fit: tuple[int, int] | None = None
    mask: str | None = None
    missing_masks: MissingMasks | None = None
    find_damage: bool = False
    sensitivity: float | None = None
    box: list[tuple[int, int, int, int]] | None = None
    mask_color: tuple[int, int, int] | None = None
    mask_alpha: bool = False
    invert_mask: bool = False
    dilate: int | None = None
    salvage: bool = False
    denoise: float | str | None = None
    out: str | None = None
    overwrite: bool = False
    keep_known: bool | None = None
    grain: bool = False
    preview: bool = False
    importance: bool = False
    record: bool = False
    max_memory: int | None = None

    @property
    def marked(self) -> bool:
        """Whether something says what is missing, beside damage that is found."""
        return bool(self.mask or self.box or self.mask_color or self.mask_alpha)
