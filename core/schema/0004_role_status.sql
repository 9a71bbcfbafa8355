-- What each role says of itself every few seconds (core/presence.py). Not worth a log: after a crash
-- of the server it is empty, and full again five seconds later.
CREATE UNLOGGED TABLE hub.role_status (
    role       text NOT NULL,
    process    text NOT NULL,                       -- host:pid
    started_at timestamptz NOT NULL,
    at         timestamptz NOT NULL,                -- by the database's clock, one for all machines
    figures    jsonb NOT NULL,
    PRIMARY KEY (role, process)
) WITH (fillfactor = 50);
