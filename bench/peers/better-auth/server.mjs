// better-auth with its plugin for API keys, as `cargo xtask bench --peers` measures it: the least that a server of one's own needs around
// `verifyApiKey`, and nothing that would slow it down. It keeps no key beside better-auth's own store.
//
// PORT, and STORE: `memory` (its memory adapter), `secondary` (keys in secondary storage, here a map in the process: what its documentation
// names for fast look-ups, without a network on the way) or `postgres` (PGHOST and its like say where; PROCESSES share the port).

import cluster from "node:cluster";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";

import { apiKey } from "@better-auth/api-key";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { getMigrations } from "better-auth/db/migration";
import pg from "pg";

const { PORT, STORE, PROCESSES = "1" } = process.env;

const tables = () => ({ user: [], session: [], account: [], verification: [], apikey: [] });

function map() {
  const values = new Map();
  return {
    get: (key) => values.get(key) ?? null,
    set: (key, value) => void values.set(key, value),
    delete: (key) => void values.delete(key),
  };
}

const options = {
  baseURL: `http://127.0.0.1:${PORT}`,
  secret: process.env.SECRET ?? randomBytes(32).toString("hex"),
  database: STORE === "postgres" ? new pg.Pool() : memoryAdapter(tables()),
  logger: { disabled: true },
  telemetry: { enabled: false },
  plugins: [
    apiKey({
      // Ten requests a day for each key, unless told: that would be measured, not verification.
      rateLimit: { enabled: false },
      ...(STORE === "secondary" ? { storage: "secondary-storage", customStorage: map() } : {}),
    }),
  ],
};

async function body(request) {
  let text = "";
  for await (const part of request) text += part;
  return JSON.parse(text);
}

async function serve() {
  const auth = betterAuth(options);

  const routes = {
    "GET /verify": async (request) => {
      const { valid } = await auth.api.verifyApiKey({ body: { key: request.headers["x-api-key"] ?? "" } });
      return [valid ? 204 : 401];
    },
    "POST /owner": async () => {
      const { internalAdapter } = await auth.$context;
      const { id } = await internalAdapter.createUser({ email: "bench@example.com", name: "bench", emailVerified: true });
      return [201, { id }];
    },
    "POST /keys": async (request) => {
      const { owner, name } = await body(request);
      const { id, key } = await auth.api.createApiKey({ body: { userId: owner, name } });
      return [201, { id, token: key }];
    },
    "POST /revoke": async (request) => {
      const { owner, id } = await body(request);
      await auth.api.updateApiKey({ body: { userId: owner, keyId: id, enabled: false } });
      return [204];
    },
  };

  createServer(async (request, response) => {
    const [status, value] = await routes[`${request.method} ${request.url}`](request).catch((error) => [500, { error: `${error}` }]);
    const text = value === undefined ? "" : JSON.stringify(value);
    if (status !== 204) response.setHeader("content-length", Buffer.byteLength(text));
    response.writeHead(status).end(text);
  }).listen(Number(PORT), "127.0.0.1");
}

if (cluster.isPrimary && STORE === "postgres") {
  await (await getMigrations(options)).runMigrations();
  await options.database.end();
}
if (cluster.isPrimary && PROCESSES !== "1") {
  for (let started = 0; started < Number(PROCESSES); started += 1) cluster.fork({ SECRET: options.secret });
} else {
  // The primary's own pool is closed by now where it brought the tables up to date.
  if (cluster.isPrimary && STORE === "postgres") options.database = new pg.Pool();
  await serve();
}
