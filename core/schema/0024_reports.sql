-- Cases from people 市民、监督员、12345, and what they may have in common with what sensors saw.

ALTER TABLE hub.case
    ADD COLUMN reporter  text NOT NULL DEFAULT '',  -- who reported it, as the source names them
    ADD COLUMN report_no text;                      -- the source's own number: what comes twice is one case
CREATE UNIQUE INDEX case_report_once ON hub.case (tenant_id, source, report_no) WHERE report_no IS NOT NULL;
CREATE INDEX case_near ON hub.case (lat, lon) WHERE lat IS NOT NULL;

INSERT INTO hub.case_limit (clock, category, class_code, amount, unit, source) VALUES
    ('handle', 'event', '0111', 4, 'working_hours', 'municipal lists, to be checked'),      -- 道路积水
    ('handle', 'component', '0405', 5, 'working_days', 'municipal lists, to be checked');   -- 绿地养护

CREATE TABLE hub.merge_proposal (      -- 拟并案: near in place and time; a clerk decides
    proposal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    case_no     text NOT NULL REFERENCES hub.case,  -- the one that people reported
    into_no     text REFERENCES hub.case,           -- a case that may be the same
    incident_id bigint REFERENCES hub.incident,     -- or an incident that has no case
    metres      float8 NOT NULL,
    proposed_at timestamptz NOT NULL,
    decision    text CHECK (decision IN ('merged', 'joined')),
    CHECK ((into_no IS NULL) <> (incident_id IS NULL)),
    UNIQUE NULLS NOT DISTINCT (case_no, into_no, incident_id)
);
