"""How alike two batches of images are: PSNR, SSIM, L1 and LPIPS.

Pure functions, differentiable and fit for jit. Each takes prediction and target,
[B, H, W, 3] RGB, and returns one value per image, [B]; what they return is a mean
over the image only, so mean them over images as you like. Options, named alike:

  data_range  the value of white, 1 by default; 255 for grey levels
  channels    "rgb", or "luma" (BT.601 studio swing) [not lpips]
  border      pixels left out along every side, none by default
  rounded     round to the 256 grey levels of an image file first, off by default
  window      side of SSIM's Gaussian, 11
  network     LPIPS's features, "alexnet" or "vgg16"

Nothing is clipped, rounded or cropped unless asked. Conventions of super-resolution
papers, for an enlargement by `scale` and outputs clipped to [0, 1]:

  Set5 ... Urban100     psnr, ssim: channels="luma", border=scale
  DIV2K                 psnr: border=scale + 6
  EDSR's own scores     as those of Set5, rounded=True
"""

from dear_jax.metrics.compared import luma
from dear_jax.metrics.lpips import lpips
from dear_jax.metrics.pixelwise import l1, psnr
from dear_jax.metrics.ssim import SSIM_WINDOW, ssim

__all__ = ["SSIM_WINDOW", "l1", "lpips", "luma", "psnr", "ssim"]
