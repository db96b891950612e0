-- Up to where history is no longer whole, and where the log ends.
SELECT pruned_seq, last_seq FROM rowcast.state
