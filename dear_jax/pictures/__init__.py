"""A photo file with all that it carries: read, given other pixels, written again.

`picture` is what there is of a file, `reading` and `writing` are from and to files.
`channels` and `deep` turn what a file holds into pixels, the latter of 16 bits and
floats; `carried` finds what goes along unchanged, of which `exif` and `profiles` know
more; `directories` is the format that EXIF and TIFF share; `png` and `tiff` write what
Pillow cannot.
"""
