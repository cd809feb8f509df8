"""Where the photos, masks, weights, networks and graphs lie that come along."""

from pathlib import Path

_ASSETS = Path(__file__).parent / "assets"

PHOTOS = _ASSETS / "photos"
MASKS = _ASSETS / "masks"
WEIGHTS = _ASSETS / "weights"
METRICS = _ASSETS / "metrics"
DETECTOR = _ASSETS / "detectors" / "damage-detector.safetensors"
GRAPHS = _ASSETS / "onnx"
