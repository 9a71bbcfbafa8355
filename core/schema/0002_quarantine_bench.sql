-- The quarantine bench 隔离台: who settled a row, how, and which rows only count.
ALTER TABLE hub.quarantine
    ADD COLUMN counts_only    boolean NOT NULL DEFAULT false, -- beyond the hourly share: bytes of the first only
    ADD COLUMN settled_at     timestamptz,
    ADD COLUMN settled_by     text,
    ADD COLUMN settled_reason text,
    ADD COLUMN mapping        jsonb;                          -- what a re-drive changed in its records
CREATE INDEX quarantine_age ON hub.quarantine (last_at) WHERE state = 'open' OR payload <> '';

-- Written by the server's own clock, read by nobody: a replay gives the same rows only without it.
ALTER TABLE hub.finding DROP COLUMN created_at;
