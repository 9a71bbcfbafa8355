-- Roll-ups 汇总. rollup_<level>_<kind> and last_<kind> are made from the kinds (core/rollup_tables.py).

CREATE TABLE hub.rollup_kind (         -- how far the storage of a kind reaches
    kind        text PRIMARY KEY,
    origin      timestamptz NOT NULL,               -- a midnight of the city: buckets count from here
    metrics     text[] NOT NULL,                    -- what is rolled up
    raw_from    timestamptz NOT NULL DEFAULT 'epoch', -- older readings were dropped: their roll-ups are final
    minute_from timestamptz NOT NULL DEFAULT 'epoch', -- older minutes were dropped; the same for hours and days
    hour_from   timestamptz NOT NULL DEFAULT 'epoch',
    day_from    timestamptz NOT NULL DEFAULT 'epoch'
);

CREATE TABLE hub.rollup_dirty (        -- buckets to compute (anew): written with the rows, only ever appended to
    mark_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    level     int2 NOT NULL CHECK (level BETWEEN 0 AND 2), -- minute, hour, day
    kind      text NOT NULL,
    first     timestamptz NOT NULL,                 -- first and last bucket touched
    last      timestamptz NOT NULL CHECK (last >= first),
    devices   int4[]                                -- whose; null: anybody's
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX rollup_dirty_kind ON hub.rollup_dirty (kind, level, first);
