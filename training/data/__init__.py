"""Where training rows come from and what they look like."""
