"""Put the same failure probes to microbatch and to every other batcher that can be installed."""
