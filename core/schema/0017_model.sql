-- Models trained off-line 离线模型: which files may be read. A file whose hash is not here never is.

CREATE TABLE hub.model (
    model_hash  text PRIMARY KEY CHECK (model_hash ~ '^[0-9a-f]{64}$'), -- SHA-256 of the file
    kind        text NOT NULL,
    features    text[] NOT NULL,
    trained_at  timestamptz NOT NULL,
    window_from timestamptz NOT NULL,
    window_to   timestamptz NOT NULL,
    row_count   bigint NOT NULL,
    library     text NOT NULL,                      -- such as scikit-learn 1.9.1
    file_name   text NOT NULL,                      -- in the folder models of the data folder
    state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'retired'))
);
CREATE INDEX model_kind ON hub.model (kind, trained_at DESC);
