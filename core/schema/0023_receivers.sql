-- Receivers 接收方 as data: who is told of cases, in which form; and what they tell us back.

CREATE TABLE hub.receiver (
    name       text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9-]{0,31}$'
                                       AND name NOT IN ('webhook', 'null')), -- the connector's name in hub.outbox
    kind       text NOT NULL CHECK (kind IN ('webhook', 'exchange', 'cap', 'alertmanager', 'open311',
                                             'file', 'notify', 'null')),
    url        text,                                -- of file: a folder; of notify: none, it is the secret
    secret_ref text NOT NULL DEFAULT 'site'         -- where the secret is; the secret itself is never here
               CHECK (secret_ref IN ('site', 'none') OR secret_ref ~ '^file:[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    takes      text[] NOT NULL CHECK (cardinality(takes) > 0), -- CloudEvents types
    least      int2 CHECK (least BETWEEN 1 AND 4),  -- only cases this severe or more
    options    jsonb NOT NULL DEFAULT '{}',
    per_minute float4 CHECK (per_minute > 0),       -- deliveries at most; null: no limit
    disabled   bool NOT NULL DEFAULT false,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL
);

CREATE TABLE hub.callback (            -- 回调: what a receiver told us, kept whatever became of it
    callback_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    receiver     text NOT NULL,
    external_key text NOT NULL,                     -- the sender's id of this message: one id, one effect
    seq          int8 NOT NULL,                     -- the sender's order within the case
    case_no      text NOT NULL,
    action       text NOT NULL CHECK (action IN ('accept', 'feedback', 'return')),
    body         jsonb NOT NULL,
    state        text NOT NULL DEFAULT 'parked' CHECK (state IN ('parked', 'applied')),
    reason_zh    text,                              -- why it is parked
    reason_en    text,
    received_at  timestamptz NOT NULL,
    applied_at   timestamptz,
    UNIQUE (receiver, external_key)
);
CREATE INDEX callback_parked ON hub.callback (receiver, case_no, seq) WHERE state = 'parked';
