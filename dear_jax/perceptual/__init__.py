"""Networks that see photos as people do, more or less: AlexNet, VGG16, LPIPS.

`alexnet` and `vgg16` give features, `lpips` a distance made of them, `pretrained` reads
their weights. They are Flax modules; `dear_jax.metrics.lpips` is the measure.
This module imports none of them.
"""
