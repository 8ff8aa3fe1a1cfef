"""conftest's tiny config, for commands that tests start."""

from biggan_jax.config import base


def get_config():
    c = base()
    c.batch_size = 16
    c.d_steps = 1  # Each is compiled: tests of more have a config of their own.
    c.num_steps = 4
    c.log_every = 1
    c.sample_every = 0
    c.checkpoint_every = 2
    c.data.name = "digits"
    c.model.resolution = 16
    c.model.num_classes = 10
    c.model.ch = 4
    c.model.dim_z = 12
    c.model.shared_dim = 8
    c.model.g_attention = (8,)
    c.model.d_attention = (8,)
    return c
