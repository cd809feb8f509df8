"""Models as files that run without this project: StableHLO, and ONNX."""
