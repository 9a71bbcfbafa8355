-- Large states lie in files beside the hub: 300,000 series watched in full are 580 MB, which as rows would be
-- 80 GB of write-ahead log a day. The name holds the file's checksum, so that no other is taken for it.
ALTER TABLE hub.detector_state ADD COLUMN file text;
