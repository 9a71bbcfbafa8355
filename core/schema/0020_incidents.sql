-- Incidents with a cause: what stands where, what explains what, who was told of it when.

ALTER TABLE hub.incident
    ADD COLUMN family        text,         -- 同类: of its first alarm; null: nothing is put beside it by place
    ADD COLUMN started_at    timestamptz,  -- of its first alarm, event time
    ADD COLUMN lon           float8,       -- where that was, WGS-84
    ADD COLUMN lat           float8,
    ADD COLUMN audience      text NOT NULL DEFAULT 'city',
    ADD COLUMN cause_rule    text,         -- rule of the cause's own alarm; null: no cause is known
    ADD COLUMN cause_over_at timestamptz,  -- when that alarm cleared; what goes on then is left over 遗留
    ADD COLUMN arranged      boolean NOT NULL DEFAULT true, -- false: alarms open before are not yet looked through
    ADD COLUMN merged_into   bigint REFERENCES hub.incident,
    ADD COLUMN notify_at     timestamptz,  -- look whether there is something to tell; null: nobody is told
    ADD COLUMN announced_at  timestamptz,  -- 报出: when seats were first told
    ADD COLUMN told_at       timestamptz,  -- when they were told last
    ADD COLUMN told_severity int2,         -- how grave it was then
    ADD COLUMN told_count    int4 NOT NULL DEFAULT 0; -- and of how many members they were told
CREATE INDEX incident_cause ON hub.incident (cause_node) WHERE cause_rule IS NOT NULL AND state = 'open';
CREATE INDEX incident_unarranged ON hub.incident (incident_id) WHERE NOT arranged;
CREATE INDEX incident_near ON hub.incident (family, started_at) WHERE family IS NOT NULL AND state = 'open';
CREATE INDEX incident_notify ON hub.incident (notify_at) WHERE notify_at IS NOT NULL AND state = 'open';
CREATE INDEX incident_announced ON hub.incident (announced_at) WHERE announced_at IS NOT NULL;

CREATE INDEX device_cell ON hub.device (('CELL-' || grid_code)) WHERE grid_code IS NOT NULL;

-- All edges of the tree: what the registry says of each device, and those told besides.
CREATE VIEW hub.hangs_on AS
SELECT device_id AS child, gateway AS parent, 'gateway' AS kind, 'inhibit' AS effect FROM hub.device WHERE gateway IS NOT NULL
 UNION ALL
SELECT device_id, feeder, 'feeder', 'inhibit' FROM hub.device WHERE feeder IS NOT NULL
 UNION ALL
SELECT device_id, network, 'network', 'inhibit' FROM hub.device WHERE network IS NOT NULL
 UNION ALL
SELECT device_id, 'CELL-' || grid_code, 'grid', 'inhibit' FROM hub.device WHERE grid_code IS NOT NULL AND kind <> 'cell'
 UNION ALL
SELECT child, parent, kind, effect FROM hub.topology_edge;

CREATE TABLE hub.seat (                -- 席位: whose load is counted
    seat        text PRIMARY KEY,
    audiences   text[] NOT NULL DEFAULT '{city,maintenance,system}', -- whose alarms it is shown
    grid_prefix text NOT NULL DEFAULT '',           -- its part of the city; empty: all of it
    flood_since timestamptz,                        -- 告警洪峰; null: none
    digest_at   timestamptz                         -- up to when it was told what is only counted
);
INSERT INTO hub.seat (seat) VALUES ('1');

-- Whether a seat is shown an incident.
CREATE FUNCTION hub.shows(s hub.seat, i hub.incident) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT i.audience = ANY (s.audiences)
       AND (s.grid_prefix = '' OR EXISTS (SELECT 1 FROM unnest(i.grid_codes) AS g WHERE starts_with(g, s.grid_prefix)))
$$;
