"""The view: pose and perspective."""


import numpy as np
from jaxtyping import Float

from awing.rendering.geometry import Head, along
from awing.rendering.parameters import Array, FaceParameters, Values


class Camera:
    """Turns the head about its middle by a share of its pose, then views it in perspective.

    Attributes:
        scale: Pixels a millimetre at the depth of the origin.
        centre: Pixel of the optical axis.
    """

    pivot = np.array([0, 25, -85], np.float32)

    def __init__(self, face: FaceParameters, share: float = 1.0) -> None:
        yaw, pitch, roll = np.radians([face.yaw, face.pitch, face.roll]) * share
        about_x = [[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]]
        about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        about_z = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
        self.rotation = np.linalg.multi_dot([about_z, about_y, about_x]).astype(np.float32)
        self.distance, self.scale, self.centre = face.distance, 1.0, np.zeros(2)

    def project(self, points: Values) -> Array:
        """(..., 3) mm -> (..., 3): x and y in pixels, and a depth that is greater where nearer."""
        seen = (np.asarray(points) - self.pivot) @ self.rotation.T + self.pivot
        zoom = self.scale * self.distance / (self.distance - seen[..., 2:])
        return np.concatenate([seen[..., :2] * zoom + self.centre, seen[..., 2:]], -1)


def project_landmarks(camera: Camera, head: Head, plane: Float[np.ndarray, "98 2"]) -> Float[np.ndarray, "98 2"]:
    """The points as the camera sees them, the contour slid to the outermost point of each of its rows."""
    points = camera.project(head.lift(head.locate(plane)))[:, :2]
    azimuth, v = head.jaw_edge()
    inner = np.sign(azimuth) * np.minimum(np.abs(azimuth), np.radians(30))
    slide = azimuth[:, None] + (inner - azimuth)[:, None] * np.linspace(0, 1, 40)
    rows = np.broadcast_to(v[:, None], slide.shape)
    lines = head.lift(np.stack([along(slide), rows], -1).reshape(-1, 2)).reshape(33, 40, 3)
    seen = camera.project(lines)[..., :2]
    outwards = np.sign(azimuth)[:, None] * (seen @ camera.rotation[:2, 0])
    points[:33] = seen[np.arange(33), np.argmax(outwards, 1)]
    return np.asarray(points, np.float64)
