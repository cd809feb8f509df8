"""What a run tells: metrics, rates beside what devices can do, traces."""
