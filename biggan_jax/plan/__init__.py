"""Plan a training run before renting machines: compile the real step with the real TPU compiler."""
