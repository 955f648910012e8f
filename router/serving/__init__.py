"""The serving process: its master and workers, what runs behind them, and the doors they answer at."""
