-- A worker that starts looks at what was found since the last snapshot of its detectors.
CREATE INDEX finding_received ON hub.finding USING brin (received_at);
