"""Rendered faces: a parametric 3-D head, painted, lit and seen through a camera, with WFLW's 98 points.

The landmarks are points of the surface that is drawn, so they lie on what is seen, and like WFLW's they exist behind
occluders. The face contour (0-32) follows WFLW's habit for turned heads: each of its points slides along its row of the
surface from the jaw edge towards the middle of the face (to 30 degrees from it at most) to where the camera sees that
row's outermost point: on the near side the jaw edge itself, on the far side the visible silhouette.
"""

from awing.rendering.face import FLAGS, SIZE, RenderedFace, render, render_face, save_face
from awing.rendering.parameters import FaceParameters, sample_parameters

__all__ = ["FLAGS", "SIZE", "FaceParameters", "RenderedFace", "render", "render_face", "sample_parameters", "save_face"]
