"""What the library costs, as ratios in one run."""
