"""Rows prepared for training: `open_dataset` makes a `Dataset`, `device_batches` feeds a step."""
