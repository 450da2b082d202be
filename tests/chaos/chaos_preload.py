"""What the fork server of a worker under test imports: the real preload, then the wrapping of the trainer's functions."""

import chaos_points

import worker.preload

LOADED = worker.preload.LOADED
chaos_points.wrap_trainer()
