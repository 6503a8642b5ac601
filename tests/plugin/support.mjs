// What the tests of the plugin share: a pointsman of a few lines, and a terminal that is not there.

import crypto from "node:crypto"
import fs from "node:fs"
import http from "node:http"
import os from "node:os"
import path from "node:path"

export const SECRET = "ab".repeat(32)

/** Listens, takes registrations, and keeps every request. `answer` may answer in its stead. */
export async function daemon(answer = () => undefined) {
  const asked = []
  const waiting = []
  const server = http.createServer((request, response) => {
    let text = ""
    request.on("data", (chunk) => (text += chunk))
    request.on("end", () => {
      const body = text ? JSON.parse(text) : undefined
      const { method, url: at, headers } = request
      asked.push({ method, path: at, secret: headers["x-pointsman-secret"], body })
      const [status, said] = answer(method, at, body) ?? usual(method, at, body)
      response.writeHead(status, { "content-type": "application/json" })
      response.end(JSON.stringify(said))
      for (const look of waiting.splice(0)) look()
    })
  })
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
  const url = `http://127.0.0.1:${server.address().port}`
  function usual(method, at, body) {
    if (at === "/servers/challenge") return [200, { protocol: 1, proof: proof(body.nonce, url) }]
    if (method === "POST") return [201, { id: "srv_1", protocol: 1, heartbeat_ms: 60_000, lease_ms: 180_000 }]
    return [200, {}]
  }
  return {
    url,
    asked,
    registration: { url, secret: SECRET },
    /** Waits until `wanted` holds for some request; gives it. */
    async until(wanted) {
      for (;;) {
        const found = asked.find(wanted)
        if (found) return found
        await new Promise((resolve) => waiting.push(resolve))
      }
    },
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

export function proof(nonce, url) {
  return crypto.createHmac("sha256", SECRET).update(`pointsman challenge\n${nonce}\n${url}`).digest("hex")
}

/** A state directory with a registration file. */
export function stateDir(registration, mode = 0o600) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "pointsman-plugin-"))
  const text = typeof registration === "string" ? registration : JSON.stringify({ protocol: 1, ...registration })
  fs.writeFileSync(path.join(directory, "registration.json"), text)
  fs.chmodSync(path.join(directory, "registration.json"), mode)
  return directory
}

/** What OpenCode hands to a plugin of its terminal. `fetch` is the way into its server. */
export function terminal(fetch, baseUrl = "http://opencode.internal") {
  const listeners = new Map()
  const ends = []
  return {
    api: {
      app: { version: "1.18.33" },
      state: { path: { directory: "/home/ann/shop", worktree: "/home/ann/shop" } },
      client: { client: { getConfig: () => ({ baseUrl, fetch }), interceptors: { request: { use() {}, eject() {} } } } },
      route: { current: { name: "home" } },
      event: {
        on(type, listener) {
          listeners.set(listener, type)
          return () => listeners.delete(listener)
        },
      },
      lifecycle: { onDispose: (end) => ends.push(end) },
    },
    listeners,
    tell(payload, at) {
      for (const [listener, type] of listeners) if (type === payload.type) listener(payload, at)
    },
    ends,
  }
}

/** The listener of the runtime that OpenCode brings along: what is served with it. */
export function listening(isMainThread = true) {
  const served = []
  const serve = (options) => (served.push(options), { port: 4711, unref() {}, stop: () => served.pop() })
  globalThis.Bun = { serve, isMainThread }
  return served
}
