-- What is append-only is not emptied either: TRUNCATE passes by the triggers of rows.
CREATE TRIGGER event_never_emptied BEFORE TRUNCATE ON hub.event_log
    FOR EACH STATEMENT EXECUTE FUNCTION hub.forbid_change();
CREATE TRIGGER event_never_emptied BEFORE TRUNCATE ON hub.alarm_event
    FOR EACH STATEMENT EXECUTE FUNCTION hub.forbid_change();
CREATE TRIGGER event_never_emptied BEFORE TRUNCATE ON hub.case_event
    FOR EACH STATEMENT EXECUTE FUNCTION hub.forbid_change();
CREATE TRIGGER audit_never_emptied BEFORE TRUNCATE ON hub.audit
    FOR EACH STATEMENT EXECUTE FUNCTION hub.forbid_change();

-- The how manieth secret a device has: raised to make the one before it worthless.
ALTER TABLE hub.device ADD COLUMN secret_no int2 NOT NULL DEFAULT 0 CHECK (secret_no >= 0);
