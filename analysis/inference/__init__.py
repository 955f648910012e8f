"""Two samples to an estimate, an interval, a p-value, a sequence, a posterior: columnar, pure, no I/O."""
