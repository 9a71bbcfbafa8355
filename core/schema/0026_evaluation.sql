-- Evaluation 综合评价: shifts, what each figure weighs, and the bulletins that were published.

CREATE TABLE hub.shift (               -- 班次: by the city's clock
    shift_code text PRIMARY KEY CHECK (shift_code ~ '^[a-z0-9_]{1,16}$'),
    name_zh    text NOT NULL,
    name_en    text NOT NULL,
    begins     time NOT NULL,
    ends       time NOT NULL            -- ends <= begins: the day after
);
INSERT INTO hub.shift VALUES
    ('day', '白班', 'Day shift', '08:00', '20:00'), ('night', '夜班', 'Night shift', '20:00', '08:00');

CREATE TABLE hub.score_weight (        -- 评价权重: the newest of each indicator counts; the numbers are ours
    indicator  text NOT NULL,
    valid_from timestamptz NOT NULL DEFAULT '-infinity',
    weight     float8 NOT NULL CHECK (weight >= 0),
    PRIMARY KEY (indicator, valid_from)
);
INSERT INTO hub.score_weight (indicator, weight) VALUES
    ('handled_on_time', 40), ('handled', 20), ('rework', 20), ('returned', 10), ('recurred', 10);

CREATE TABLE hub.bulletin (            -- 月报: edition 1 is what was published, later ones correct it
    tenant_id    int2 NOT NULL DEFAULT 1,
    month        date NOT NULL CHECK (extract(day FROM month) = 1),
    edition      int4 NOT NULL CHECK (edition >= 1),
    published_at timestamptz NOT NULL,
    published_by text NOT NULL CHECK (published_by <> ''),
    body         jsonb NOT NULL,        -- edition 1: the whole; later: {"changes": [...]} against all before
    PRIMARY KEY (tenant_id, month, edition)
);
CREATE TRIGGER bulletin_append_only BEFORE UPDATE OR DELETE ON hub.bulletin
    FOR EACH ROW EXECUTE FUNCTION hub.forbid_change();
CREATE TRIGGER bulletin_never_emptied BEFORE TRUNCATE ON hub.bulletin
    FOR EACH STATEMENT EXECUTE FUNCTION hub.forbid_change();
