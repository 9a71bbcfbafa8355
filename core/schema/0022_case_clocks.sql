-- The clocks of a case 时限: limits, the calendar they run by, and what stops them for a while.

CREATE TABLE hub.calendar_year (       -- 日历: a year's holidays and make-up days; a fix is a new version
    year       int2 NOT NULL,
    version    int2 NOT NULL CHECK (version > 0),
    source     text NOT NULL,
    stored_at  timestamptz NOT NULL,
    PRIMARY KEY (year, version)
);
CREATE TABLE hub.calendar_day (        -- only days that are not what their weekday says
    year    int2 NOT NULL,
    version int2 NOT NULL,
    day     date NOT NULL,
    works   boolean NOT NULL,                       -- true: a make-up working day 调休
    name    text NOT NULL DEFAULT '',
    PRIMARY KEY (year, version, day),
    FOREIGN KEY (year, version) REFERENCES hub.calendar_year
);
CREATE TABLE hub.working_hours (       -- 作息: of a working day, by the city's clock
    begins time PRIMARY KEY,
    ends   time NOT NULL CHECK (ends > begins)
);
INSERT INTO hub.working_hours VALUES ('08:00', '12:00'), ('14:00', '18:00'); -- ours; the city's own hours belong here

CREATE TABLE hub.case_limit (          -- 时限标准: the narrowest class wins, then the severity
    limit_id   int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    clock      text NOT NULL CHECK (clock IN ('accept', 'file', 'dispatch', 'sign', 'on_site', 'handle', 'verify', 'close')),
    category   text CHECK (category IN ('component', 'event')), -- null: both
    class_code text NOT NULL DEFAULT '' CHECK (class_code ~ '^([0-9]{2}){0,3}$'), -- a beginning of the class
    severity   int2 CHECK (severity BETWEEN 1 AND 4),
    amount     float8 NOT NULL CHECK (amount > 0),
    unit       text NOT NULL CHECK (unit IN ('urgent_hours', 'working_hours', 'working_days')), -- 紧急工作时 工作时 工作日
    source     text NOT NULL CHECK (source <> ''),
    valid_from timestamptz NOT NULL DEFAULT '-infinity',
    valid_to   timestamptz NOT NULL DEFAULT 'infinity'
);
INSERT INTO hub.case_limit (clock, severity, amount, unit, source) VALUES
    ('accept', NULL, 10 / 60.0, 'urgent_hours', 'ours'),
    ('file', NULL, 0.5, 'urgent_hours', 'ours; to be checked against CJ/T 315-2009'),
    ('dispatch', NULL, 0.25, 'urgent_hours', 'ours; to be checked against CJ/T 315-2009'),
    ('sign', NULL, 0.5, 'urgent_hours', 'ours'),
    ('sign', 4, 10 / 60.0, 'urgent_hours', 'ours'),
    ('handle', NULL, 1, 'working_days', 'ours, where neither a class nor an alarm rule says'),
    ('verify', NULL, 2, 'urgent_hours', 'ours'),
    ('close', NULL, 0.5, 'urgent_hours', 'ours; to be checked against CJ/T 315-2009');

CREATE TABLE hub.case_clock (
    case_no          text NOT NULL REFERENCES hub.case,
    clock            text NOT NULL,
    round            int2 NOT NULL,                 -- a rework handles a second time
    started_at       timestamptz NOT NULL,
    amount           float8 NOT NULL,
    unit             text NOT NULL,
    calendar_version text NOT NULL DEFAULT '',      -- such as 2026.1
    source           text NOT NULL,
    yellow_at        timestamptz NOT NULL,          -- 30 % of the limit is left
    due_at           timestamptz NOT NULL,
    stopped_at       timestamptz,
    paused_at        timestamptz,
    paused_s         float8 NOT NULL DEFAULT 0,     -- calendar time that nobody is charged with
    light            text NOT NULL CHECK (light IN ('green', 'yellow', 'red', 'deep_red', 'grey')),
    urge_at          timestamptz,                   -- the next urge by the hub
    level            int2 NOT NULL DEFAULT 0,       -- supervision it has led to
    timer_at         timestamptz,
    PRIMARY KEY (case_no, clock, round)
);
CREATE INDEX case_clock_timer ON hub.case_clock (timer_at) WHERE timer_at IS NOT NULL;
CREATE INDEX case_clock_running ON hub.case_clock (case_no) WHERE stopped_at IS NULL;

CREATE TABLE hub.side_track (          -- 延期 挂账: asked for by one, decided by another
    track_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_no      text NOT NULL REFERENCES hub.case,
    type         text NOT NULL CHECK (type IN ('extension', 'suspension')),
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    reason       text NOT NULL CHECK (reason <> ''),
    hours        float8 CHECK (hours > 0),          -- of an extension: hours on the clock
    review_at    timestamptz,                       -- of a suspension: when it is looked at again
    approver     text,
    approved_at  timestamptz,
    decision     text CHECK (decision IN ('approved', 'refused')),
    new_due_at   timestamptz,
    CHECK ((hours IS NULL) = (type = 'suspension') AND (review_at IS NULL) = (type = 'extension'))
);
CREATE UNIQUE INDEX side_track_open ON hub.side_track (case_no, type) WHERE decision IS NULL;

ALTER TABLE hub.case
    ADD COLUMN handle_amount float8,
    ADD COLUMN limit_unit text NOT NULL DEFAULT 'urgent_hours',
    ADD COLUMN calendar_version text NOT NULL DEFAULT '';
