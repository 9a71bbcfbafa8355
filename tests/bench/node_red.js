// Runs a real Node-RED with the bench's flow: MQTT in, JSON, a function that inserts over a pool.
// node node_red.js FACTS prints one JSON object when all rows are in.
const fs = require("fs");
const http = require("http");
const path = require("path");

const facts = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const load = (name) => require(path.join(facts.root, "node_modules", name));
const RED = load("node-red");
const { Pool } = load("pg");

const pool = new Pool({ connectionString: facts.database, max: facts.pool });
let begun = 0n, cpu, stored = 0;

async function store(topic, values) {
  if (!begun) {
    begun = process.hrtime.bigint();
    cpu = process.cpuUsage();
  }
  const device = topic.split("/")[1];
  const { text, keys } = facts.inserts[device];
  const row = [values.t, values.seq, facts.devices[device], ...keys.map((key) => values[key])];
  await pool.query({ name: text.slice(12, 60), text, values: row });
  if (++stored < facts.messages) return;
  const wall = Number(process.hrtime.bigint() - begun) / 1e9;
  const used = process.cpuUsage(cpu);
  await pool.end();
  const out = { messages: stored, wall_s: wall, cpu_s: (used.user + used.system) / 1e6 };
  fs.writeSync(1, JSON.stringify(out));
  process.exit(0);
}

RED.init(http.createServer(), {
  userDir: facts.folder,
  flowFile: path.join(facts.folder, "flows.json"),
  credentialSecret: false,
  httpAdminRoot: false,
  httpNodeRoot: false,
  disableEditor: true,
  functionGlobalContext: { store },
  telemetry: { enabled: false, updateNotification: false },
  logging: { console: { level: "error", metrics: false, audit: false } },
});
RED.start();
