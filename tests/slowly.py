"""A callback that makes a tiny training last: ``+callbacks.slow={_target_: slowly.Slowly, seconds: 3}``."""

import time

import pytorch_lightning as pl


class Slowly(pl.Callback):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_start(self, *_: object) -> None:
        until = time.monotonic() + self.seconds
        while (left := until - time.monotonic()) > 0:  # a signal does not cut it short
            time.sleep(left)
