"""From a finding to an alarm, a case, a work order, and its delivery to the city."""
