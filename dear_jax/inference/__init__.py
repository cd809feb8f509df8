"""From weights and a photo to a restored picture."""
