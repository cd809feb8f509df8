"""From the authors' PyTorch checkpoints to our weights files, without PyTorch."""
