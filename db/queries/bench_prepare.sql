-- What Rowcast is compared with: the same table and indexes with no trigger at all, and with the plain one, a NOTIFY that carries the row.
CREATE SCHEMA bench;
CREATE TABLE bench.bare (LIKE public.notifications INCLUDING ALL);
CREATE TABLE bench.plain (LIKE public.notifications INCLUDING ALL);
CREATE FUNCTION bench.notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('bench', {event}) FROM (SELECT NEW.*) AS n;
    RETURN NULL;
END
$$;
CREATE TRIGGER bench_notify AFTER INSERT ON bench.plain FOR EACH ROW EXECUTE FUNCTION bench.notify();
