// The server of this process: one it shares with its terminal and nobody can reach, one that listens, or one elsewhere.

import crypto from "node:crypto"

import { VERSION } from "./event-types.js"
import { Hearing, typesIn } from "./hearing.js"
import { WITHIN, health, listen } from "./within.js"

/** A server takes seconds to describe itself first; a terminal that has just started has better to do. */
const BEFORE_ASKING = 10_000

export class Server {
  #api
  #role
  #instance = crypto.randomBytes(16).toString("hex")
  #listener = null

  /** `role` is what the arguments say: `"tui"` or `"attach"`. Nothing is opened yet. */
  constructor(api, role) {
    this.#api = api
    this.#role = role
  }

  /** What pointsman is told of it; opens a listener first where the server has none. Throws if it does not answer. */
  async describe() {
    const reached = await this.#reached()
    const { directory, worktree } = this.#api.state.path
    return { instance: this.#instance, pid: process.pid, directory, worktree, version: this.#api.app.version, ...reached }
  }

  async #reached() {
    const { baseUrl, fetch } = this.#api.client.client.getConfig()
    if (this.#role === "attach") return { kind: "attach", url: baseUrl }
    if (isAddress(new URL(baseUrl).hostname)) return { kind: "tui", url: reachable(baseUrl) }
    await health(fetch)
    this.#listener ??= listen({ fetch, instance: this.#instance, remade: this.#remade(fetch) })
    const { url, token } = this.#listener
    return { kind: "tui", url, token, plugin: true }
  }

  /** What streams are made of here. */
  #remade(fetch) {
    const hearing = new Hearing((type, listener) => this.#api.event.on(type, listener))
    if (this.#api.app.version !== VERSION) setTimeout(() => learn(hearing, fetch), BEFORE_ASKING).unref?.()
    return { hear: (listener) => hearing.hear(listener), directory: () => this.#api.state.path.directory }
  }

  close() {
    this.#listener?.close()
    this.#listener = null
  }
}

/** Whether a terminal that uses this host does so over the network: its server listens there. */
function isAddress(hostname) {
  return hostname === "localhost" || hostname.startsWith("[") || /^[\d.]+$/.test(hostname)
}

/** Lets another version of OpenCode name the events that this plugin was not made with. */
async function learn(hearing, fetch) {
  try {
    hearing.learn(typesIn(await (await fetch(new Request(`${WITHIN}/doc`))).json()))
  } catch {
    // Those that are known are most of them.
  }
}

/** Where a server that listens everywhere can be asked from here. */
function reachable(baseUrl) {
  const url = new URL(baseUrl)
  if (url.hostname === "0.0.0.0") url.hostname = "127.0.0.1"
  if (url.hostname === "[::]") url.hostname = "[::1]"
  return url.origin
}
