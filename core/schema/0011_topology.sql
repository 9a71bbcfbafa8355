-- What hangs on what: the edges along which a cause explains, or is shown with, what follows from it.

CREATE TABLE hub.topology_edge (       -- 拓扑: feeder, gateway, network, power, road, grid, hydrology
    child  text NOT NULL,              -- a device id: what follows
    parent text NOT NULL,              -- a device id: what it follows from, such as the gauge upstream
    kind   text NOT NULL CHECK (kind IN ('feeder', 'gateway', 'network', 'power', 'road', 'grid', 'hydrology')),
    effect text NOT NULL DEFAULT 'link' CHECK (effect IN ('inhibit', 'link')), -- the parent's fault explains the child, or both are shown together
    PRIMARY KEY (child, parent, kind),
    CHECK (child <> parent),
    CHECK (effect = 'link' OR kind NOT IN ('hydrology', 'road'))  -- water that comes from above hides nothing
);
CREATE INDEX topology_edge_parent ON hub.topology_edge (parent, kind);
