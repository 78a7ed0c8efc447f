"""What is fast, shown as ratios. `scripts/bench` runs every module here that has a function `run`."""
