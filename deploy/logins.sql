-- Who may log in to the Postgres of docker-compose.yml, besides its owner: bridge and web, with the rights of their groups alone
-- (`rowcast migrate --roles` gives the groups theirs). The postgres image runs this once, when it fills an empty volume; on one that is older run it by hand.

\set ON_ERROR_STOP on
\getenv bridge_password BRIDGE_PASSWORD
\getenv web_password WEB_PASSWORD

SELECT format('CREATE ROLE %I NOLOGIN', name) FROM unnest(ARRAY['rowcast_bridge', 'rowcast_web']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
CREATE ROLE bridge LOGIN PASSWORD :'bridge_password' IN ROLE rowcast_bridge;
CREATE ROLE web LOGIN PASSWORD :'web_password' IN ROLE rowcast_web;
