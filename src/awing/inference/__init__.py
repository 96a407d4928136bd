"""Landmark detection with a trained network; needs neither Hydra nor Lightning."""
