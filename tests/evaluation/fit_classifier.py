"""Fit the classifier of mnist5k, which the commands of other tests read from the cache."""

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.evaluation.networks import open_network

if __name__ == "__main__":
    open_network("classifier", training=data.make_source(configs.load("quickstart")))
