"""The z-buffer: areas, depths, normals and hiding."""

from math import pi

import numpy as np
import pytest

from training.synthetic.raster import Canvas, Primitive, View, project, rasterise, surface

_GREY = (128.0, 128.0, 128.0)


def _ball(z: float = 0.0, radius: float = 0.2, part: int = 1) -> Primitive:
    return Primitive((0, 0, z), (0, 0.001, z), (radius, radius), (radius, radius), part, _GREY)


def _view(yaw: float = 0.0, pitch: float = 0.0) -> View:
    return View(yaw, pitch, 100.0, 50.0, 50.0)


def test_a_ball_covers_its_disc_and_faces_the_viewer_in_the_middle() -> None:
    canvas = Canvas.empty(100, 100)
    scene = project([_ball()], _view())
    rasterise(scene, canvas)
    assert (canvas.owner == 0).sum() == pytest.approx(pi * 20**2, rel=0.03)
    seen = surface(scene, canvas)
    middle = int(np.flatnonzero(seen.where == 50 * 100 + 50)[0])
    assert seen.normal[2, middle] > 0.99
    assert np.allclose(np.linalg.norm(seen.normal, axis=0), 1, atol=1e-3)
    assert canvas.depth.max() == pytest.approx(20, rel=0.02)


@pytest.mark.parametrize(("yaw", "owner"), [(0.0, 1), (pi, 0)])
def test_what_is_nearer_hides_what_is_further_and_turning_swaps_them(yaw: float, owner: int) -> None:
    canvas = Canvas.empty(100, 100)
    rasterise(project([_ball(-0.5), _ball(0.5)], _view(yaw)), canvas)
    assert canvas.owner[50, 50] == owner


def test_a_flat_shape_is_wide_from_the_front_and_narrow_from_the_side() -> None:
    plank = Primitive((0, 0.3, 0), (0, -0.3, 0), (0.3, 0.05), (0.3, 0.05), 1, _GREY)
    areas = []
    for yaw in (0.0, pi / 2):
        canvas = Canvas.empty(120, 120)
        rasterise(project([plank], View(yaw, 0.0, 100.0, 60.0, 60.0)), canvas)
        areas.append(int((canvas.owner[60] == 0).sum()))
    assert areas[0] == pytest.approx(60, abs=2)
    assert areas[1] == pytest.approx(10, abs=2)


def test_shapes_outside_the_canvas_leave_it_untouched() -> None:
    canvas = Canvas.empty(50, 50)
    rasterise(project([_ball()], View(0.0, 0.0, 100.0, 500.0, -300.0)), canvas)
    assert (canvas.owner == -1).all()


def test_a_camera_that_looks_down_sees_nearer_floor_lower_in_the_picture() -> None:
    view = _view(pitch=0.4)
    near = view.matrix() @ np.array([0, 0, 1], np.float32)
    assert near[1] > 0
