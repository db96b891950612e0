-- The table that pg-sse reads from, as its documentation would have it: an id of its own sequence, an index for its reads.
CREATE TABLE bench.messages (LIKE public.notifications INCLUDING DEFAULTS INCLUDING GENERATED, PRIMARY KEY (id));
CREATE SEQUENCE bench.messages_id OWNED BY bench.messages.id;
ALTER TABLE bench.messages ALTER COLUMN id SET DEFAULT nextval('bench.messages_id');
CREATE INDEX messages_reads ON bench.messages (user_id, id)
