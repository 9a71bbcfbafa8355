-- The tables of the hub. reading_<kind> are made from the kinds (core/tables.py), not here.
CREATE SCHEMA IF NOT EXISTS hub;

-- The city -------------------------------------------------------------------------------------

CREATE TABLE hub.department (          -- 单位: members of the city-management network
    dept_code  text PRIMARY KEY CHECK (dept_code ~ '^[A-Za-z0-9_-]{1,32}$'),
    name_zh    text NOT NULL,
    name_en    text NOT NULL DEFAULT '',
    is_street  boolean NOT NULL DEFAULT false       -- street office: owner by territory 属地
);

CREATE TABLE hub.grid_cell (           -- 单元网格
    grid_code  text PRIMARY KEY CHECK (grid_code ~ '^([0-9]{14}|[0-9]{15})$'),
    name       text NOT NULL DEFAULT '',
    dept_code  text REFERENCES hub.department,      -- the street office of the cell
    lon        float8, lat float8,                  -- centre, WGS-84 degrees
    outline    jsonb                                -- GeoJSON Polygon or MultiPolygon, WGS-84
);

CREATE TABLE hub.component (           -- 部件
    component_code text PRIMARY KEY CHECK (component_code ~ '^[0-9]{16}$'),
    class_code     text NOT NULL GENERATED ALWAYS AS (substr(component_code, 7, 4)) STORED,
    name           text NOT NULL DEFAULT '',
    grid_code      text REFERENCES hub.grid_cell,
    dept_code      text REFERENCES hub.department,  -- the owner 属主
    lon            float8, lat float8,
    state          text NOT NULL DEFAULT 'in_use',
    attributes     jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX component_grid ON hub.component (grid_code);
CREATE INDEX component_class ON hub.component (class_code);

CREATE TABLE hub.duty (                -- who owns a class of things where: step 1 of routing
    duty_id    int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    category   text NOT NULL DEFAULT 'component' CHECK (category IN ('component', 'event')),
    class_code text NOT NULL CHECK (class_code ~ '^([0-9]{2}){1,2}$'), -- class, or with its sub-class
    grid_code  text REFERENCES hub.grid_cell,       -- null: the whole city
    dept_code  text NOT NULL REFERENCES hub.department,
    valid_from timestamptz NOT NULL DEFAULT '-infinity',
    valid_to   timestamptz NOT NULL DEFAULT 'infinity',
    UNIQUE NULLS NOT DISTINCT (category, class_code, grid_code, valid_from)
);

-- Devices --------------------------------------------------------------------------------------

CREATE TABLE hub.device (
    device_no      int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- by the database, never by a process
    tenant_id      int2 NOT NULL DEFAULT 1,
    device_id      text NOT NULL UNIQUE CHECK (device_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    kind           text NOT NULL,                   -- a key of devices.KINDS, or gateway | feeder | hub
    name           text NOT NULL DEFAULT '',
    component_code text REFERENCES hub.component,
    grid_code      text REFERENCES hub.grid_cell,
    dept_code      text REFERENCES hub.department,
    lon            float8, lat float8,              -- WGS-84 degrees, where it is installed
    gateway        text,                            -- device_id of the gateway that carries it
    feeder         text,                            -- device_id of the feeder 回路 that powers it
    interval_s     float4 CHECK (interval_s > 0),   -- null: the kind's
    limits         jsonb NOT NULL DEFAULT '{}',     -- {"metric": {"red": 3.2}}: this device's own
    secret_hash    text,
    state          text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'maintenance', 'retired')),
    version        int4 NOT NULL DEFAULT 1,
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX device_kind ON hub.device (kind);
CREATE INDEX device_gateway ON hub.device (gateway) WHERE gateway IS NOT NULL;
CREATE INDEX device_feeder ON hub.device (feeder) WHERE feeder IS NOT NULL;

CREATE FUNCTION hub.tell_devices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('hub_device', '');            -- workers and the broker look again
    RETURN NULL;
END $$;
CREATE TRIGGER device_told AFTER INSERT OR UPDATE OR DELETE ON hub.device
    FOR EACH STATEMENT EXECUTE FUNCTION hub.tell_devices();

CREATE TABLE hub.device_seen (         -- narrow: one upsert a device and batch, at most one in 5 s
    device_no       int4 PRIMARY KEY,
    last_contact_at timestamptz NOT NULL,           -- anything heard, receive time
    last_reading_at timestamptz,                    -- a reading heard, receive time
    last_ts         timestamptz                     -- newest device time believed
) WITH (fillfactor = 50);

-- What devices send ----------------------------------------------------------------------------

CREATE TABLE hub.device_event (        -- 设备事件: a signal of the device, not yet an alarm
    ts         timestamptz NOT NULL,
    seq        int8,
    device_no  int4 NOT NULL,
    name       text NOT NULL,
    active     boolean,                             -- true starts, false ends, null is a pulse
    detail     jsonb NOT NULL DEFAULT '{}',
    quality    int2 NOT NULL DEFAULT 0,
    UNIQUE NULLS NOT DISTINCT (device_no, ts, seq, name, active)
);

CREATE TABLE hub.device_state (        -- last state message of a device, its last will included
    device_no  int4 PRIMARY KEY,
    at         timestamptz NOT NULL,
    online     boolean,
    detail     jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE hub.quarantine (          -- 隔离区: what could not be read, with its reason
    quarantine_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at     timestamptz NOT NULL,
    last_at         timestamptz NOT NULL,
    source          text NOT NULL,
    position        bigint,                         -- in the log; null where the source has none
    topic           text NOT NULL,                  -- at most 1,024 characters, NUL shown as U+FFFD
    device_no       int4,
    stage           text NOT NULL CHECK (stage IN ('route', 'limit', 'envelope', 'codec', 'identity', 'mapping', 'store')),
    code            text NOT NULL,
    detail_zh       text NOT NULL,
    detail_en       text NOT NULL,
    codec           text NOT NULL DEFAULT '',
    record_index    int4,                           -- null: the whole message
    payload         bytea NOT NULL,                 -- first 64 KiB
    payload_length  int4 NOT NULL,
    payload_sha256  bytea NOT NULL,
    digest          bytea NOT NULL,                 -- SHA-256 over topic and payload
    content_type    text,
    state           text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'redriven', 'discarded')),
    repeat_count    int4 NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX quarantine_once ON hub.quarantine (source, digest, code, record_index)
    NULLS NOT DISTINCT WHERE state = 'open';
CREATE INDEX quarantine_code ON hub.quarantine (code, received_at);

CREATE TABLE hub.ledger (              -- received = stored + duplicate + quarantined, always
    source      text NOT NULL,
    minute      timestamptz NOT NULL,               -- of receipt
    received    bigint NOT NULL DEFAULT 0,
    stored      bigint NOT NULL DEFAULT 0,
    duplicate   bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (source, minute),
    CHECK (received = stored + duplicate + quarantined)
);

CREATE TABLE hub.source_offset (       -- where a worker stands; compared in its transaction: the fence
    source     text PRIMARY KEY,
    epoch      bigint NOT NULL DEFAULT 0,           -- mqtt: raised by each new session
    position   bigint NOT NULL DEFAULT 0,           -- jetstream: last log sequence committed
    client_id  text,                                -- mqtt: 128 random bits, for ever
    stream_id  text,                                -- jetstream: creation time of the log, else another
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE hub.detector_state (
    source     text NOT NULL,
    kind       text NOT NULL,
    stage      text NOT NULL,
    version    int4 NOT NULL,
    position   bigint NOT NULL DEFAULT 0,           -- of the log, when it was taken
    state      bytea NOT NULL,
    taken_at   timestamptz NOT NULL,
    PRIMARY KEY (source, kind, stage)
);

-- What is wrong --------------------------------------------------------------------------------

CREATE TABLE hub.finding (             -- 检测结果: commits with its readings, never shown alone
    finding_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    int2 NOT NULL DEFAULT 1,
    device_no    int4 NOT NULL,
    rule_id      text NOT NULL,
    rule_version int4 NOT NULL DEFAULT 1,
    detector     text NOT NULL,
    kind         text NOT NULL,
    metric       text NOT NULL DEFAULT '',
    edge         text NOT NULL CHECK (edge IN ('open', 'update', 'clear', 'once')),
    ts           timestamptz NOT NULL,
    first_ts     timestamptz NOT NULL,
    received_at  timestamptz NOT NULL,
    severity     int2 NOT NULL CHECK (severity BETWEEN 1 AND 4),
    value        float8, expected float8, threshold float8,
    unit         text NOT NULL DEFAULT '',
    score        float4,
    confidence   float4 NOT NULL DEFAULT 1,
    quality      int2 NOT NULL DEFAULT 0,
    flags        text[] NOT NULL DEFAULT '{}',
    explain_zh   text NOT NULL,
    explain_en   text NOT NULL,
    detail       jsonb NOT NULL DEFAULT '{}',
    model_hash   text,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (device_no, rule_id, ts, edge, kind)     -- a redelivered batch finds nothing twice
);

CREATE TABLE hub.cursor (              -- how far a tailing role has come
    name       text PRIMARY KEY,
    position   bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- Alarms 告警, incidents 事件簇, cases 案件, work orders 任务单 --------------------------------------

CREATE TABLE hub.incident (
    incident_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id        int2 NOT NULL DEFAULT 1,
    cause_node       text,
    cause_kind       text,
    cause_confidence float4,
    alternatives     jsonb NOT NULL DEFAULT '[]',
    severity         int2 NOT NULL,
    state            text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
    opened_at        timestamptz NOT NULL,
    closed_at        timestamptz,
    member_count     int4 NOT NULL DEFAULT 0,
    suppressed_count int4 NOT NULL DEFAULT 0,
    title_zh         text NOT NULL DEFAULT '',
    title_en         text NOT NULL DEFAULT '',
    grid_codes       text[] NOT NULL DEFAULT '{}',
    version          int4 NOT NULL DEFAULT 1
);

CREATE TABLE hub.alarm_pending (       -- no number, no feed, no notification
    tenant_id int2 NOT NULL DEFAULT 1,
    device_no int4 NOT NULL,
    rule_id   text NOT NULL,
    first_ts  timestamptz NOT NULL,
    last_ts   timestamptz NOT NULL,
    hits      int4 NOT NULL DEFAULT 1,
    peak      float8,
    finding   jsonb NOT NULL,
    PRIMARY KEY (tenant_id, device_no, rule_id)
);

CREATE TABLE hub.alarm (
    alarm_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id         int2 NOT NULL DEFAULT 1,
    occurrence_no     int4 NOT NULL DEFAULT 1,
    previous_alarm_id bigint,
    rule_id           text NOT NULL,
    rule_version      int4 NOT NULL DEFAULT 1,
    device_no         int4 NOT NULL REFERENCES hub.device,
    component_code    text,
    kind              text NOT NULL,
    audience          text NOT NULL CHECK (audience IN ('city', 'maintenance', 'system')),
    severity          int2 NOT NULL CHECK (severity BETWEEN 1 AND 4),
    severity_peak     int2 NOT NULL,
    confidence        float4 NOT NULL DEFAULT 1,
    condition_state   text NOT NULL CHECK (condition_state IN ('active', 'clearing', 'cleared')),
    sources           text[] NOT NULL DEFAULT '{}', -- detectors whose episode goes on; none: raised by pulses
    ack_state         text NOT NULL DEFAULT 'unacked' CHECK (ack_state IN ('unacked', 'acked')),
    suppression       text NOT NULL DEFAULT 'none' CHECK (suppression IN ('none', 'shelved', 'suppressed', 'out_of_service')),
    suppressed_by     text,
    suppress_until    timestamptz,
    suppress_reason   text,
    latched           boolean NOT NULL DEFAULT false,
    reset_at          timestamptz,
    reset_by          text,
    flapping          boolean NOT NULL DEFAULT false,
    stale             boolean NOT NULL DEFAULT false,
    data_stale        boolean NOT NULL DEFAULT false,
    unconfirmed       boolean NOT NULL DEFAULT false,
    clock_suspect     boolean NOT NULL DEFAULT false,
    retroactive       boolean NOT NULL DEFAULT false,
    started_at        timestamptz NOT NULL,
    raised_at         timestamptz NOT NULL,
    received_at       timestamptz NOT NULL,
    last_seen_at      timestamptz NOT NULL,
    clearing_at       timestamptz,
    cleared_at        timestamptz,
    clear_reason      text,
    acked_at          timestamptz,
    acked_by          text,
    assignee          text,
    ack_due_at        timestamptz,
    escalation_level  int2 NOT NULL DEFAULT 0,
    repeat_count      int4 NOT NULL DEFAULT 0,
    chatter_count     int4 NOT NULL DEFAULT 0,
    reopen_count      int4 NOT NULL DEFAULT 0,
    value             float8, threshold float8, baseline float8,
    unit              text NOT NULL DEFAULT '',
    explain_zh        text NOT NULL,
    explain_en        text NOT NULL,
    detail            jsonb NOT NULL DEFAULT '{}',
    evidence          jsonb NOT NULL DEFAULT '[]',
    notified_at       timestamptz,
    incident_id       bigint REFERENCES hub.incident,
    case_no           text,
    grid_code         text,
    lon               float8, lat float8,
    version           int4 NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX alarm_open_once ON hub.alarm (tenant_id, device_no, rule_id)
    WHERE condition_state <> 'cleared' OR (latched AND reset_at IS NULL);
CREATE INDEX alarm_recent ON hub.alarm (raised_at DESC);
CREATE INDEX alarm_history ON hub.alarm (device_no, rule_id, alarm_id);
CREATE INDEX alarm_case ON hub.alarm (case_no) WHERE case_no IS NOT NULL;
CREATE INDEX alarm_incident ON hub.alarm (incident_id);

CREATE TABLE hub.case (
    case_no           text PRIMARY KEY,
    tenant_id         int2 NOT NULL DEFAULT 1,
    source            text NOT NULL,                -- sensor 物联感知 | inspector 监督员 | hotline 12345 | video 视频 | public 公众
    category          text NOT NULL CHECK (category IN ('component', 'event')),
    class_code        text NOT NULL DEFAULT '',     -- 4 digits: class and sub-class
    component_code    text,
    grid_code         text,
    address           text NOT NULL DEFAULT '',
    lon               float8, lat float8,
    description_zh    text NOT NULL,
    description_en    text NOT NULL,
    severity          int2 NOT NULL,
    state             text NOT NULL CHECK (state IN ('reported', 'verify_requested', 'accepted', 'filed', 'rejected',
                          'void', 'merged', 'dispatched', 'in_progress', 'feedback', 'verifying', 'closed', 'evaluated')),
    owner_dept        text, handling_dept text,
    assist_depts      text[] NOT NULL DEFAULT '{}',
    routed_by         text NOT NULL DEFAULT '',     -- the rule of routing that gave handling_dept
    dispatcher        text, handler text, inspector text,
    reported_at       timestamptz NOT NULL,
    accepted_at       timestamptz, filed_at timestamptz, dispatched_at timestamptz, signed_at timestamptz,
    feedback_at       timestamptz, verified_at timestamptz, closed_at timestamptz,
    first_closed_at   timestamptz, evaluated_at timestamptz,
    handle_limit_s    float8, handle_due_at timestamptz, handle_due_2 timestamptz,
    paused_s          float8 NOT NULL DEFAULT 0,
    extension_count   int2 NOT NULL DEFAULT 0, return_count int2 NOT NULL DEFAULT 0,
    rework_count      int2 NOT NULL DEFAULT 0, recurrence_count int2 NOT NULL DEFAULT 0,
    urge_count        int2 NOT NULL DEFAULT 0, supervise_level int2 NOT NULL DEFAULT 0,
    suspended         boolean NOT NULL DEFAULT false, review_at timestamptz,
    verify_method     text, verify_result text,
    verify_evidence   jsonb NOT NULL DEFAULT '[]',
    close_reason      text,
    merged_into       text, related_case_no text, external_no text,
    score             float4,
    incident_id       bigint REFERENCES hub.incident,
    auto_dispatched   boolean NOT NULL DEFAULT false,
    version           int4 NOT NULL DEFAULT 1,
    CHECK (state NOT IN ('closed', 'evaluated') OR (verified_at IS NOT NULL AND verify_result = 'passed'))
);
CREATE UNIQUE INDEX case_open_once ON hub.case (tenant_id, incident_id, coalesce(handling_dept, ''))
    WHERE state NOT IN ('closed', 'evaluated', 'rejected', 'void', 'merged');
CREATE INDEX case_recent ON hub.case (reported_at DESC);
CREATE SEQUENCE hub.case_serial;

CREATE TABLE hub.work_order (
    order_no       text PRIMARY KEY,
    tenant_id      int2 NOT NULL DEFAULT 1,
    case_no        text NOT NULL REFERENCES hub.case,
    role           text NOT NULL DEFAULT 'main' CHECK (role IN ('main', 'assist')),
    dept_code      text NOT NULL,
    crew           text, handler text,
    state          text NOT NULL CHECK (state IN ('issued', 'signed', 'on_site', 'done', 'returned', 'cancelled')),
    issued_at      timestamptz NOT NULL,
    signed_at      timestamptz, on_site_at timestamptz, done_at timestamptz,
    on_site_due_at timestamptz, due_at timestamptz,
    instruction    text NOT NULL DEFAULT '',
    feedback       text, photos jsonb NOT NULL DEFAULT '[]',
    return_reason  text,
    version        int4 NOT NULL DEFAULT 1
);
CREATE INDEX work_order_case ON hub.work_order (case_no);

CREATE TABLE hub.outbox (              -- 待发: commits with the state change that it tells of
    outbox_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    int2 NOT NULL DEFAULT 1,
    connector    text NOT NULL,
    case_no      text NOT NULL REFERENCES hub.case,
    seq          int4 NOT NULL,                     -- strictly in order within (connector, case)
    message_type text NOT NULL,
    payload      jsonb NOT NULL,
    key          text GENERATED ALWAYS AS (case_no || '-' || seq::text) STORED, -- idempotency key
    state        text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sending', 'delivered', 'dead')),
    created_at   timestamptz NOT NULL,
    due_at       timestamptz NOT NULL,
    attempts     int4 NOT NULL DEFAULT 0,
    first_tried_at timestamptz,                     -- giving up counts from here; a resend starts anew
    leased_until timestamptz,
    delivered_at timestamptz,
    external_id  text,
    last_error   text,
    UNIQUE (connector, case_no, seq)
);
CREATE INDEX outbox_due ON hub.outbox (due_at) WHERE state IN ('queued', 'sending');

-- The log of events: what the feed reads ---------------------------------------------------------

CREATE SEQUENCE hub.event_id;
CREATE TABLE hub.event_log (
    event_id   bigint NOT NULL,                     -- one sequence; visible in order; the feed's id
    log        text NOT NULL CHECK (log IN ('alarm', 'case')),
    tenant_id  int2 NOT NULL,
    at         timestamptz NOT NULL,
    actor      text NOT NULL,
    object     text NOT NULL,                       -- alarm | incident | case | work_order | device | system
    object_id  text NOT NULL,
    action     text NOT NULL,
    from_state text, to_state text, reason text,
    detail     jsonb NOT NULL DEFAULT '{}',
    prev_hash  bytea NOT NULL,
    hash       bytea NOT NULL,
    PRIMARY KEY (event_id, log)
) PARTITION BY LIST (log);
CREATE TABLE hub.alarm_event PARTITION OF hub.event_log FOR VALUES IN ('alarm'); -- 告警流水
CREATE TABLE hub.case_event PARTITION OF hub.event_log FOR VALUES IN ('case');   -- 案件流水
CREATE INDEX event_object ON hub.event_log (object, object_id, event_id);

CREATE TABLE hub.event_head (          -- the last hash of each tenant's chain
    tenant_id int2 PRIMARY KEY,
    event_id  bigint NOT NULL,
    hash      bytea NOT NULL
);

CREATE FUNCTION hub.event_hash(prev bytea, p_event_id bigint, p_log text, p_tenant int2, p_at timestamptz, p_actor text,
    p_object text, p_object_id text, p_action text, p_from text, p_to text, p_reason text, p_detail jsonb)
RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(prev || convert_to(jsonb_build_array(p_event_id, p_log, p_tenant, extract(epoch FROM p_at), p_actor,
        p_object, p_object_id, p_action, p_from, p_to, p_reason, p_detail)::text, 'UTF8'))
$$;

-- Append one event, as the last act of a transaction: the advisory lock, held to the commit, makes ids
-- become visible in their order and keeps the chain whole. Returns the id. Wakes 'hub_event'.
CREATE FUNCTION hub.append_event(p_log text, p_tenant int2, p_at timestamptz, p_actor text, p_object text,
    p_object_id text, p_action text, p_from text, p_to text, p_reason text, p_detail jsonb)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_id bigint;
    v_prev bytea;
    v_hash bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(1129270388);
    v_id := nextval('hub.event_id');
    SELECT hash INTO v_prev FROM hub.event_head WHERE tenant_id = p_tenant;
    v_prev := coalesce(v_prev, '\x'::bytea);
    v_hash := hub.event_hash(v_prev, v_id, p_log, p_tenant, p_at, p_actor, p_object, p_object_id, p_action,
                             p_from, p_to, p_reason, coalesce(p_detail, '{}'));
    INSERT INTO hub.event_log VALUES (v_id, p_log, p_tenant, p_at, p_actor, p_object, p_object_id, p_action,
                                      p_from, p_to, p_reason, coalesce(p_detail, '{}'), v_prev, v_hash);
    INSERT INTO hub.event_head VALUES (p_tenant, v_id, v_hash)
        ON CONFLICT (tenant_id) DO UPDATE SET event_id = v_id, hash = v_hash;
    PERFORM pg_notify('hub_event', '');
    RETURN v_id;
END $$;

CREATE FUNCTION hub.forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE ON hub.event_log
    FOR EACH ROW EXECUTE FUNCTION hub.forbid_change();

CREATE TABLE hub.audit (               -- 审计: every action of staff and of programs
    audit_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL,
    actor     text NOT NULL,
    address   text NOT NULL DEFAULT '',
    action    text NOT NULL,
    object    text NOT NULL,
    object_id text NOT NULL,
    outcome   text NOT NULL DEFAULT 'done',
    detail    jsonb NOT NULL DEFAULT '{}'
);
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON hub.audit
    FOR EACH ROW EXECUTE FUNCTION hub.forbid_change();

CREATE TABLE hub.idempotency (         -- answers to POSTs that carried an Idempotency-Key
    key        text PRIMARY KEY,
    request    bytea NOT NULL,                      -- SHA-256 of method, path and body
    status     int2,
    answer     jsonb,
    created_at timestamptz NOT NULL
);
