-- Where each term of leadership began, and where the log ended before it. Nobody can hold a position between the two but who heard what the
-- log has lost since (a restored dump, a failover to a standby that lagged), or who never was here.
CREATE TABLE rowcast.terms (
    start bigint PRIMARY KEY,
    ended bigint NOT NULL
);
COMMENT ON TABLE rowcast.terms IS 'Terms of leadership: the seq that each starts from, and the last one before it.';
