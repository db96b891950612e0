"""The promise put to the test by breaking everything: `make chaos`. A schedule of faults is drawn from a seed; writers and clients work on meanwhile;
at the end what came is compared with what was committed.

To be broken   `postgres` (also with a standby), `valkey` (also with a replica), `places` (bridges and web processes) → `ensemble`
               (all of them, by way of wires), `faults` (what can be done to them, by name) ← `fault` (one kind)
               ← `process_faults`, `wire_faults`, `postgres_faults`, `redis_faults`
At work        `parts` (processes of the rig) → `writers`: `writer`, `transactions`, `texts`; `clients`; `ending` (how a part hears of its end)
Written down   `records` (one JSON object a line) by all of them, `probes` (/readyz, /healthz), `holdings` (memory, descriptors, tasks; what only
               the process itself knows, `inside` tells), `starvation` (a machine too busy), `oracle` (a logical slot and the table: what
               Postgres itself says)
Judged         `evidence` (all records of a run) → `checks` (loss, doubles, order, isolation, phantoms), `healing` (liveness, readiness),
               `bounds` (writers, resources) → `verdict`
Played         `schedule` (drawn from a seed) → `run` → `play`; `shrink` (the shortest schedule that still fails)
"""
