-- Rules as data 规则: what a city changed of the rules that kinds bring, every change a row for ever.
-- A rule is named by kind and rule_id. Version 1 is the rule as shipped; each change of any scope of
-- it is the next version. Of a scope the newest row holds; taking back is a further row.
CREATE TABLE hub.alarm_rule (
    change_no    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- rises with every change, in order
    tenant_id    int2 NOT NULL DEFAULT 1,
    kind         text NOT NULL,                     -- a key of devices.KINDS, or gateway | feeder | hub
    rule_id      text NOT NULL,
    scope        text NOT NULL
                 CHECK (scope ~ '^(kind|class:[0-9]{4}|grid:.{1,64}|device:[A-Za-z0-9_-]{1,64})$'),
    version      int4 NOT NULL CHECK (version >= 2),
    body         jsonb NOT NULL,                    -- only what differs; {} takes all back
    valid_from   timestamptz NOT NULL,
    author       text NOT NULL,
    reason       text NOT NULL CHECK (reason <> ''),
    undoes       int4,                              -- the version that this one takes back
    backtest_ref text,                              -- the back-test that speaks for it
    UNIQUE (tenant_id, kind, rule_id, version)
);
CREATE INDEX alarm_rule_scope ON hub.alarm_rule (kind, rule_id, scope, version DESC);
CREATE TRIGGER rule_append_only BEFORE UPDATE OR DELETE ON hub.alarm_rule
    FOR EACH ROW EXECUTE FUNCTION hub.forbid_change();
CREATE TRIGGER rule_never_emptied BEFORE TRUNCATE ON hub.alarm_rule
    FOR EACH STATEMENT EXECUTE FUNCTION hub.forbid_change();

CREATE FUNCTION hub.tell_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('hub_rule', '');              -- workers and the alarm engine look again
    RETURN NULL;
END $$;
CREATE TRIGGER rule_told AFTER INSERT ON hub.alarm_rule
    FOR EACH STATEMENT EXECUTE FUNCTION hub.tell_rules();
