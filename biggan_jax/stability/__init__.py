"""The collapse monitor: probes of a training run, rules that evaluate them, recovery and plots."""
