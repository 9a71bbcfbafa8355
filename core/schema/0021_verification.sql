-- Verification by the sensor itself 传感器核查: when the hub looks at a case again by itself.

ALTER TABLE hub.case ADD COLUMN look_at timestamptz; -- hub clock: the next look at its sensors, or the end of the watch
CREATE INDEX case_look ON hub.case (look_at) WHERE look_at IS NOT NULL;

-- What was fed back or closed before: looked at once.
UPDATE hub.case SET look_at = feedback_at WHERE state IN ('feedback', 'verifying') AND feedback_at IS NOT NULL;
UPDATE hub.case SET look_at = closed_at + interval '72 hours' WHERE state = 'closed';
