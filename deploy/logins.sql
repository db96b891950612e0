-- Who may log in to the Postgres of docker-compose.yml, besides its owner: bridge and web, with the rights of their groups alone
-- (`rowcast migrate --roles` gives the groups theirs). The postgres image runs this once, when it fills an empty volume.

\set ON_ERROR_STOP on
\getenv bridge_password BRIDGE_PASSWORD
\getenv web_password WEB_PASSWORD

CREATE ROLE rowcast_bridge NOLOGIN;
CREATE ROLE rowcast_web NOLOGIN;
CREATE ROLE bridge LOGIN PASSWORD :'bridge_password' IN ROLE rowcast_bridge;
CREATE ROLE web LOGIN PASSWORD :'web_password' IN ROLE rowcast_web;
