"""What a training run needs from the machine: processes, signals, files, logs."""
