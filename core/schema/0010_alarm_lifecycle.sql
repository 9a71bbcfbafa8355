-- The lifecycle of alarms: what keeps one quiet, what is due when, who is told next, when we were away.

ALTER TABLE hub.alarm
    ADD COLUMN next_severity  int2 CHECK (next_severity BETWEEN 1 AND 4), -- a step of the ladder not held long enough
    ADD COLUMN next_since     timestamptz,          -- event time since when
    ADD COLUMN turns          timestamptz[] NOT NULL DEFAULT '{}', -- last changes active <-> clearing, event time
    ADD COLUMN raises         timestamptz[] NOT NULL DEFAULT '{}', -- last times it was raised, occurrences before included
    ADD COLUMN fleeting       boolean NOT NULL DEFAULT false,      -- 瞬时: over within seconds
    ADD COLUMN suppress_upto  int2 CHECK (suppress_upto BETWEEN 1 AND 4), -- what grows graver than this is told of
    ADD COLUMN suppress_once  boolean NOT NULL DEFAULT false,      -- ends with the condition
    ADD COLUMN due_ts         timestamptz,          -- look at it when the device's clock has come so far
    ADD COLUMN timer_at       timestamptz;          -- look at it when the hub's clock has come so far
CREATE INDEX alarm_due ON hub.alarm (device_no) WHERE due_ts IS NOT NULL;
CREATE INDEX alarm_timer ON hub.alarm (timer_at) WHERE timer_at IS NOT NULL;
CREATE INDEX alarm_quiet ON hub.alarm (suppressed_by) WHERE suppression <> 'none'
    AND (condition_state <> 'cleared' OR (latched AND reset_at IS NULL));

ALTER TABLE hub.alarm_pending
    ADD COLUMN due_ts         timestamptz,          -- it has lasted when the device's clock has come so far
    ADD COLUMN silent_at      timestamptz;          -- or counts as lasting, by the hub's clock, if the device fell silent

CREATE INDEX device_not_active ON hub.device (state) WHERE state <> 'active';

CREATE TABLE hub.shelf (               -- 搁置: a rule on a device that an operator wants quiet for a while
    tenant_id int2 NOT NULL DEFAULT 1,
    device_no int4 NOT NULL REFERENCES hub.device,
    rule_id   text NOT NULL,
    until     timestamptz NOT NULL,
    upto      int2 NOT NULL CHECK (upto BETWEEN 1 AND 4), -- as grave as it was when it was shelved
    once      boolean NOT NULL DEFAULT false,
    reason    text NOT NULL CHECK (reason <> ''),
    actor     text NOT NULL,
    since     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, device_no, rule_id)
);
CREATE INDEX shelf_until ON hub.shelf (until);

CREATE TABLE hub.maintenance_window (  -- 检修窗口: alarms are judged, logged and counted, and nobody is told
    window_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  int2 NOT NULL DEFAULT 1,
    scope      text NOT NULL CHECK (scope IN ('device', 'group', 'road', 'grid', 'feeder')),
    targets    text[] NOT NULL CHECK (targets <> '{}'), -- device ids (one, or a group), roads, grid cells, or feeders
    reason     text NOT NULL CHECK (reason <> ''),
    order_no   text REFERENCES hub.work_order,      -- ends with the order's work
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL CHECK (ends_at > starts_at),
    state      text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'active', 'ended', 'cancelled')),
    actor      text NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at   timestamptz,
    ended_by   text,
    version    int4 NOT NULL DEFAULT 1
);
CREATE INDEX maintenance_window_open ON hub.maintenance_window (starts_at, ends_at)
    WHERE state IN ('planned', 'active');

ALTER TABLE hub.component ADD COLUMN road text GENERATED ALWAYS AS (attributes ->> 'road') STORED;
CREATE INDEX component_road ON hub.component (road) WHERE road IS NOT NULL;

-- Which devices a window covers. A road is the attribute of that name of the device's component.
CREATE FUNCTION hub.covers(w hub.maintenance_window, d hub.device) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT CASE w.scope
        WHEN 'feeder' THEN d.feeder = ANY (w.targets) OR d.device_id = ANY (w.targets)
        WHEN 'grid' THEN coalesce(d.grid_code, (SELECT c.grid_code FROM hub.component c
                                                 WHERE c.component_code = d.component_code)) = ANY (w.targets)
        WHEN 'road' THEN (SELECT c.road FROM hub.component c WHERE c.component_code = d.component_code) = ANY (w.targets)
        ELSE d.device_id = ANY (w.targets)
    END
$$;

CREATE TABLE hub.staff (               -- who may do more than an operator
    name text PRIMARY KEY CHECK (name <> ''),
    role text NOT NULL CHECK (role IN ('operator', 'shift_leader', 'duty_director'))
);

CREATE TABLE hub.roster (              -- 值班表: who is called when an alarm climbs
    roster_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    role      text NOT NULL CHECK (role IN ('seat', 'shift_leader', 'duty_director')),
    person    text NOT NULL CHECK (person <> ''),
    contact   text NOT NULL DEFAULT '',
    starts_at timestamptz,                          -- null: has been on duty
    ends_at   timestamptz CHECK (ends_at > starts_at) -- null: stays on duty
);
CREATE INDEX roster_role ON hub.roster (role, starts_at);

CREATE TABLE hub.escalation (          -- 升级: who is told so long after nobody took note; the numbers are ours
    severity int2 NOT NULL CHECK (severity BETWEEN 1 AND 4),
    level    int2 NOT NULL CHECK (level BETWEEN 1 AND 9),
    after_s  float8 NOT NULL CHECK (after_s > 0),
    role     text NOT NULL CHECK (role IN ('seat', 'shift_leader', 'duty_director')),
    PRIMARY KEY (severity, level)
);
INSERT INTO hub.escalation (severity, level, after_s, role) VALUES
    (4, 1, 120, 'seat'), (4, 2, 300, 'shift_leader'), (4, 3, 600, 'duty_director'),
    (3, 1, 300, 'seat'), (3, 2, 900, 'shift_leader'), (3, 3, 1800, 'duty_director'),
    (2, 1, 1800, 'seat'), (2, 2, 7200, 'shift_leader');

CREATE TABLE hub.vigil (               -- how far the alarm engine is known to have lived, and its grace after a start
    name        text PRIMARY KEY,
    alive_at    timestamptz NOT NULL,
    down_since  timestamptz,                        -- the grace: since when we were away
    grace_since timestamptz                         -- and since when we are back; null: no grace
);

CREATE TABLE hub.outage (              -- the hub itself took nothing in: no device is late by this
    outage_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    began_at  timestamptz NOT NULL,
    ended_at  timestamptz CHECK (ended_at >= began_at) -- null: it goes on
);

-- Case numbers without a gap: counted by year, in the transaction that files. A sequence jumps.
CREATE TABLE hub.case_count (
    year int2 PRIMARY KEY,                          -- of the city's calendar
    last int4 NOT NULL
);
INSERT INTO hub.case_count (year, last)
SELECT extract(year FROM max(reported_at)), max(substring(case_no FROM '[0-9]+$')::int4)
  FROM hub.case HAVING count(*) > 0;
DROP SEQUENCE hub.case_serial;

-- Append many events at once: one lock, one look at the head. The same chain as hub.append_event makes.
CREATE FUNCTION hub.append_events(p_tenant int2, p_at timestamptz, p_entries jsonb)
RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
    v_entry record;
    v_id bigint;
    v_prev bytea;
    v_hash bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(1129270388);
    SELECT hash INTO v_prev FROM hub.event_head WHERE tenant_id = p_tenant;
    v_prev := coalesce(v_prev, '\x'::bytea);
    FOR v_entry IN
        SELECT * FROM jsonb_to_recordset(p_entries) AS e (log text, actor text, object text, object_id text,
            action text, before text, after text, reason text, detail jsonb)
    LOOP
        v_id := nextval('hub.event_id');
        v_hash := hub.event_hash(v_prev, v_id, v_entry.log, p_tenant, p_at, v_entry.actor, v_entry.object,
                                 v_entry.object_id, v_entry.action, v_entry.before, v_entry.after,
                                 v_entry.reason, v_entry.detail);
        INSERT INTO hub.event_log VALUES (v_id, v_entry.log, p_tenant, p_at, v_entry.actor, v_entry.object,
            v_entry.object_id, v_entry.action, v_entry.before, v_entry.after, v_entry.reason,
            v_entry.detail, v_prev, v_hash);
        v_prev := v_hash;
        RETURN NEXT v_id;
    END LOOP;
    IF v_id IS NOT NULL THEN
        INSERT INTO hub.event_head VALUES (p_tenant, v_id, v_hash)
            ON CONFLICT (tenant_id) DO UPDATE SET event_id = v_id, hash = v_hash;
        PERFORM pg_notify('hub_event', '');
    END IF;
END $$;

-- What is open already: looked at once, and then due when it is.
UPDATE hub.alarm SET due_ts = 'epoch', timer_at = 'epoch'
 WHERE condition_state <> 'cleared' OR latched AND reset_at IS NULL;
UPDATE hub.alarm_pending SET due_ts = first_ts, silent_at = first_ts;

-- The first link of a chain that does not hold: an entry that was changed, is missing, or is not the
-- last although nothing follows. No row: the chain is whole.
CREATE FUNCTION hub.broken_link(p_tenant int2, p_after bigint DEFAULT 0)
RETURNS TABLE (event_id bigint, fault text) LANGUAGE sql STABLE AS $$
    SELECT l.event_id, l.fault FROM (
        SELECT e.event_id,
               CASE WHEN e.prev_hash <> lag(e.hash, 1, CASE p_after WHEN 0 THEN '\x'::bytea ELSE e.prev_hash END)
                         OVER (ORDER BY e.event_id) THEN 'missing_before'
                    WHEN e.hash <> hub.event_hash(e.prev_hash, e.event_id, e.log, e.tenant_id, e.at, e.actor, e.object,
                             e.object_id, e.action, e.from_state, e.to_state, e.reason, e.detail) THEN 'changed'
               END AS fault
          FROM hub.event_log e WHERE e.tenant_id = p_tenant AND e.event_id > p_after
        UNION ALL
        SELECT h.event_id, 'missing_after' FROM hub.event_head h
         WHERE h.tenant_id = p_tenant
           AND NOT EXISTS (SELECT 1 FROM hub.event_log n
                WHERE n.tenant_id = p_tenant AND n.event_id = h.event_id AND n.hash = h.hash)
    ) AS l WHERE l.fault IS NOT NULL ORDER BY l.event_id LIMIT 1
$$;
