"""What microbatch costs, always next to something measured in the same run."""
