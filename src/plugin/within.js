// The way into the server of this very process: whether there is one, and a listener before it.

import crypto from "node:crypto"

import { passage } from "./passage.js"

/** A host that no network knows: who answers for it answers within this process. */
export const WITHIN = "http://pointsman.invalid"

/** What the server says of itself. Throws unless `fetch` asks this very process. */
export async function health(fetch) {
  const response = await fetch(new Request(`${WITHIN}/global/health`))
  const said = response.ok ? await response.json() : {}
  if (said.healthy !== true) throw new Error("its server does not answer")
  return said
}

/** Opens a listener that nobody passes without its token. `remade` is for a `fetch` that cannot carry streams. */
export function listen({ fetch, instance, remade }) {
  const token = crypto.randomBytes(32).toString("hex")
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    // A turn may be silent for as long as it likes.
    idleTimeout: 0,
    development: false,
    fetch: passage({ token, instance: instance.slice(0, 16), within: WITHIN, fetch, remade, environment: process.env }),
    error: () => new Response(null, { status: 500 }),
  })
  server.unref()
  return { url: `http://127.0.0.1:${server.port}`, token, close: () => server.stop(true) }
}
