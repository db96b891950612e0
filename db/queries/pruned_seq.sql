-- Up to where history is no longer whole.
SELECT pruned_seq FROM rowcast.state
