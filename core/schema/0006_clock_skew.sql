-- The running skew of each device's clock: receive time minus device time, in seconds.
ALTER TABLE hub.device_seen
    ADD COLUMN skew_s        float8,   -- robust mean; negative: the device's clock is ahead
    ADD COLUMN skew_spread_s float8;   -- mean distance of a sample from it, at least a centisecond
