"""The promises of Rowcast, end to end, on real processes."""
