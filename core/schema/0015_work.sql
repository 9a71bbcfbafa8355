-- Street cleaning 环卫作业: what is to be swept, by whom and when, and what came of it.

CREATE TABLE hub.road_segment (        -- 路段: a piece of street, the unit that is done or missed
    segment_code text PRIMARY KEY CHECK (segment_code ~ '^[A-Za-z0-9_-]{1,32}$'),
    name         text NOT NULL DEFAULT '',
    grid_code    text REFERENCES hub.grid_cell,
    dept_code    text REFERENCES hub.department,
    path         jsonb NOT NULL                     -- GeoJSON LineString, WGS-84
);

CREATE TABLE hub.work_plan (           -- 作业计划: a vehicle or a worker, its segments, its shift
    plan_code  text PRIMARY KEY CHECK (plan_code ~ '^[A-Za-z0-9_-]{1,64}$'),
    device_id  text NOT NULL REFERENCES hub.device (device_id),
    work       text NOT NULL CHECK (work IN ('sweep', 'spray', 'presence')),
    segments   text[] NOT NULL CHECK (cardinality(segments) > 0), -- codes of road_segment
    weekdays   text NOT NULL DEFAULT '1234567' CHECK (weekdays ~ '^[1-7]{1,7}$'), -- 1 is Monday
    begins     time NOT NULL,                       -- by the city's clock; ends <= begins: the day after
    ends       time NOT NULL,
    valid_from timestamptz NOT NULL DEFAULT '-infinity',
    valid_to   timestamptz NOT NULL DEFAULT 'infinity'
);

CREATE TABLE hub.work_round (          -- 作业结果: a shift that is over and judged; shares, never a track
    plan_code text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at   timestamptz NOT NULL,
    device_no int4 NOT NULL,
    work      text NOT NULL,
    done      float4 NOT NULL,                      -- of presence: the share of known time on the section
    unknown   float4 NOT NULL,                      -- share that holes in the positions hide
    segments  jsonb NOT NULL DEFAULT '{}',          -- {"code": {"verdict", "done", "unknown", "dry", "by"}}
    judged_at timestamptz NOT NULL,
    PRIMARY KEY (plan_code, starts_at)
);
CREATE INDEX work_round_recent ON hub.work_round (ends_at DESC);
