"""A trained network as a function of an image; needs neither Hydra nor Lightning."""
