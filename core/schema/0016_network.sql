-- Whose radio carries a device 运营商网络: the device_id of a virtual device of kind network.
ALTER TABLE hub.device ADD COLUMN network text;
CREATE INDEX device_network ON hub.device (network) WHERE network IS NOT NULL;
